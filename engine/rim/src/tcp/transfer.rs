//! Zones that go out over a connection: a message a turn, made when the one before has left for the socket, so that
//! other requests of the connection and everybody else on the core have their turns in between.

use ringdns_shard::{Time, TransferMessage};

use super::connection::Connection;
use crate::engine::Core;

impl Core {
    pub(super) fn begin_transfer(&mut self, now: Time, mark: u64, number: u32) {
        let connection = self.connections.of(mark).expect("the caller has looked");
        connection.in_flight += 1;
        if connection.transfers.is_empty() {
            connection.moved_at = now;
        }
        connection.transfers.push_back(number);
        self.write_on(mark);
    }

    /// Makes the next message of the connection's transfers, once what was written before has left.
    pub(super) fn continue_transfer(&mut self, now: Time, mark: u64) {
        let ready = |connection: &&mut Connection| !connection.closing && connection.output.waiting() == 0;
        let Some(connection) = self.connections.of(mark).filter(ready) else { return };
        let Some(&number) = connection.transfers.front() else { return };
        let message = self.shard.transfer_message(number, &mut self.buffer);
        let connection = self.connections.of(mark).expect("it was there above");
        if !matches!(message, TransferMessage::More(_)) {
            connection.transfers.pop_front();
            connection.in_flight -= 1;
        }
        match message {
            TransferMessage::More(octets) | TransferMessage::Last(octets) => {
                self.queue_reply(now, mark, octets);
                self.flush_connection(now, mark);
            }
            TransferMessage::Failed => connection.close(),
        }
    }
}
