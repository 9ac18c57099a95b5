//! I/O commands as a test or a simulated world carries them out: taken, served, answered
//! when somebody says so, in any order.

use super::{ENABLE, Model, Taken};
use crate::status::Status;
use alloc::vec::Vec;

impl Model {
    /// Takes up to `count` commands of a queue; returns how many are in hand.
    pub fn fetch(&self, queue: u16, count: usize) -> usize {
        self.with(|state| {
            for _ in 0..count {
                if !state.take(queue) {
                    break;
                }
            }
            state.pair(queue).in_hand.len()
        })
    }

    /// A command in hand.
    pub fn taken(&self, queue: u16, index: usize) -> Taken {
        self.with(|state| state.pair(queue).in_hand[index])
    }

    /// Does what a command in hand asks, and answers it.
    pub fn serve(&self, queue: u16, index: usize) {
        self.with(|state| {
            let taken = state.pair(queue).in_hand.remove(index);
            state.execute(&taken);
            state.post(queue, taken.id, Status::SUCCESS, 0);
        });
    }

    /// Takes and serves everything, the last command first.
    pub fn serve_all(&self, queue: u16) {
        for index in (0..self.fetch(queue, usize::MAX)).rev() {
            self.serve(queue, index);
        }
    }

    /// What a command in hand writes.
    pub fn written(&self, queue: u16, index: usize) -> Vec<u8> {
        self.with(|state| {
            let taken = state.pair(queue).in_hand[index];
            state.gather(&taken)
        })
    }

    /// Where a discard in hand begins, and how many sectors it names.
    pub fn range(&self, queue: u16, index: usize) -> (u64, u64) {
        self.with(|state| {
            let taken = state.pair(queue).in_hand[index];
            state.range(&taken)
        })
    }

    /// Gives a read in hand its data.
    pub fn fill(&self, queue: u16, index: usize, data: &[u8]) {
        self.with(|state| {
            let taken = state.pair(queue).in_hand[index];
            state.scatter(&taken, data);
        });
    }

    /// Answers a command in hand and does nothing.
    pub fn answer(&self, queue: u16, index: usize, status: Status) {
        self.with(|state| {
            let taken = state.pair(queue).in_hand.remove(index);
            state.post(queue, taken.id, status, 0);
        });
    }

    /// Answers a command that was not given.
    pub fn forge(&self, queue: u16, id: u16) {
        self.with(|state| state.post(queue, id, Status::SUCCESS, 0));
    }

    /// Whether it takes commands from `queue`.
    pub fn is_running(&self, queue: u16) -> bool {
        self.with(|state| {
            let is_well = state.ready && !state.fatal && !state.gone;
            is_well && state.configuration & ENABLE != 0 && state.queues.contains_key(&queue)
        })
    }

    /// Whether it will send a message for the next answer of `queue`: it may hold it
    /// back while answers are untold.
    pub fn will_interrupt(&self, queue: u16) -> bool {
        self.with(|state| {
            let pair = state.pair(queue);
            pair.vector.is_some() && pair.head == pair.posted
        })
    }

    /// Hears no doorbell of commands, or does again.
    pub fn set_deaf(&self, is_deaf: bool) {
        self.with(|state| state.is_deaf = is_deaf);
    }
}
