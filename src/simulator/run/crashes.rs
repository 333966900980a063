//! Edges end without a word, begin again, and write their state files.

use super::{Event, Received, Run};
use crate::simulator::client::Client;

impl Run {
    /// An edge's process ends: who waits for it is cut off. The next one has the state file, or nothing.
    pub(in crate::simulator) fn crash(&mut self, edge: usize) {
        self.seen.crashes += 1;
        let cut_off = |_: &u64, request: &mut super::Request| request.edge == edge;
        let cut_off: Vec<_> = self.requests.extract_if(.., cut_off).collect();
        for (_, request) in cut_off {
            self.answer(&request, Received::default());
        }
        self.polls.retain(|poll| poll.edge != edge);
        let of_edge = |client: &&mut Client| client.edge == Some(edge);
        let of_edge = self.clients.iter_mut().filter(of_edge);
        of_edge.for_each(Client::is_forgotten);
        let keeps_file = self.random.chance(60);
        self.tell(|| format!("edge {edge} crashes, and keeps its file: {keeps_file}"));
        self.edges[edge].restart(keeps_file, self.now_ms);
        for at in self.ats() {
            let life = self.now_ms;
            self.after(1, Event::Polls { edge, at, life });
        }
    }

    pub(super) fn save(&mut self, edge: usize) {
        if self.is_over() {
            return;
        }
        self.edges[edge].save(self.now_ms);
        let next = self.random.between(1_000, 8_000);
        self.after(next, Event::Saves { edge });
    }
}
