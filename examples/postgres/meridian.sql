-- What a backend on PostgreSQL tells Meridian, as two functions: meridian.committed() and meridian.applied(). Run this once on
-- the primary, as a superuser; the standbys get it by replication, and any role may call them.
-- A position is TIMELINE:LSN (`version: pg_lsn`): each promotion begins a timeline, and so an epoch.

CREATE SCHEMA meridian;
GRANT USAGE ON SCHEMA meridian TO PUBLIC;

-- The timeline that a primary writes. pg_control_checkpoint() knows a new one only after the first checkpoint on it; until
-- then it would pass positions of the new timeline for some of the old one, which may have been lost.
CREATE FUNCTION meridian.timeline() RETURNS int LANGUAGE sql SET search_path = pg_catalog AS $$
  SELECT ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int
$$;

-- For `Meridian-Committed`: where the transaction that was committed last in this session is, on a primary.
-- Ask in a statement of its own, after the commit. PostgreSQL does not tell the LSN of one's own commit, but a commit returns
-- only when its record is flushed, so it lies at or before this one. With synchronous_commit = off that is not so, and a crash
-- may lose the commit without a new timeline: then this is NULL, and Meridian pins the writer to its region instead.
CREATE FUNCTION meridian.committed() RETURNS text LANGUAGE sql SET search_path = pg_catalog AS $$
  SELECT meridian.timeline() || ':' || pg_current_wal_flush_lsn() WHERE current_setting('synchronous_commit') <> 'off'
$$;

-- The history file of a timeline, NULL if there is none: a line `PARENT <tab> FORK <tab> reason` for each promotion.
CREATE FUNCTION meridian.history(timeline int) RETURNS text LANGUAGE sql SET search_path = pg_catalog AS $$
  SELECT pg_read_file('pg_wal/' || lpad(upper(to_hex(timeline)), 8, '0') || '.history', 0, 65536, true)
$$;

-- For `Meridian-Applied`: what readers of this server see, `TIMELINE:LSN@PARENT:FORK` once there was a promotion.
-- Ask in a statement of its own, before the data is read, and not in REPEATABLE READ or SERIALIZABLE: a snapshot is taken
-- before the statement runs, so that in one statement, or one such transaction, the position could be newer than the data.
-- SECURITY DEFINER, because history files are read with the rights of a superuser.
CREATE FUNCTION meridian.applied() RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  here      pg_lsn;          -- read before the timelines: these may be newer than it, never older
  following int;             -- a timeline that this server has surely gone over to
  history   text;            -- of that timeline; on a standby of the next one, if it has heard of that
  parent    int;
  fork      pg_lsn;
  began     text := '';
BEGIN
  IF pg_is_in_recovery() THEN
    here := pg_last_wal_replay_lsn();
    following := greatest((SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint()));
    history := meridian.history(following + 1);
  ELSE
    here := pg_current_wal_flush_lsn();
    following := meridian.timeline();
  END IF;
  FOR parent, fork IN
    SELECT line[1]::int, line[2]::pg_lsn
    FROM regexp_matches(coalesce(history, meridian.history(following)), '^(\d+)\t([0-9A-F]+/[0-9A-F]+)', 'gn') AS line
  LOOP
    -- A standby receives the new timeline while it still replays the old one. One that is not known to have gone over may
    -- have replayed what the new timeline left behind: it answers for nothing past the fork.
    IF here < fork OR parent >= following THEN
      RETURN parent || ':' || least(here, fork) || began;
    END IF;
    began := '@' || parent || ':' || fork;
  END LOOP;
  RETURN following || ':' || here || began;
END
$$;
