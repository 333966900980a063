-- On the primary; replicas get it by replication. MariaDB's GTIDs go on through a promotion, so the life of the log is kept here.
CREATE TABLE meridian_epoch (epoch INT UNSIGNED PRIMARY KEY, fork BIGINT UNSIGNED);
INSERT INTO meridian_epoch VALUES (1, NULL);
