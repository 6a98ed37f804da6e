//! Room in the cache: copies of what is merely cached, growth, and who gives way when that is not enough.
//!
//! The cells that are in use are what every step's attention goes over, so the cache starts small and holds what
//! runs. What has ended is copied out when something else is computed, and copied back when it is wanted.
//!
//! **Invariant:** cells and copies together are never more tokens than `Limits::cells`.

use super::prefixes::{Entry, Place};
use super::shares::ShareIndex;
use super::{Operation, Scheduler, SequenceKey};

/// The cache grows by multiples of so many cells.
const GROWTH_CELLS: u32 = 256;

/// A cache that has grown to so many times its first size is made small again when nothing runs.
const SHRINK_TIMES: u32 = 2;

impl Scheduler {
    pub(super) fn release(&mut self, slot: u32) {
        self.cells.release(slot);
        self.free_slots.push(slot);
        self.operations.push(Operation::Clear(slot));
    }

    /// Gets cells free: from what is merely cached, by copying it out; from a larger cache; by forgetting. False when
    /// nothing of this is left. `keep` stays where it is.
    pub(super) fn make_room(&mut self, wanted: u32, keep: Option<Place>) -> bool {
        self.park_cached(keep) || self.grow(wanted, keep) || self.evict_except(keep)
    }

    /// Copies out what is merely cached, so that it lies in nobody's way. False if no cell was given back.
    pub(super) fn park_cached(&mut self, keep: Option<Place>) -> bool {
        self.park_beside(self.cells.total(), keep)
    }

    /// The same for a cache of so many cells.
    fn park_beside(&mut self, cells: u32, keep: Option<Place>) -> bool {
        let mut changed = false;
        if cells >= self.limits.cells {
            return false;
        }
        let slots: Vec<u32> = self.prefixes.in_slots().map(|(slot, _)| slot).filter(|&slot| Some(Place::Slot(slot)) != keep).collect();
        // The latest first: it gets the room that there is.
        for slot in slots {
            let Some((_, entry)) = self.prefixes.in_slots().find(|(other, _)| *other == slot) else { continue };
            let length = entry.length();
            if self.is_running(entry) {
                self.prefixes.remove(Place::Slot(slot));
            } else if self.make_parking_room(cells, slot, length, keep) {
                self.tickets += 1;
                self.operations.push(Operation::Park { slot, ticket: self.tickets });
                self.prefixes.park(slot, self.tickets);
            } else {
                continue;
            }
            self.release(slot);
            changed = true;
        }
        changed
    }

    /// Whether a running sequence holds the whole entry.
    fn is_running(&self, entry: &Entry) -> bool {
        self.running.iter().any(|&key| {
            let sequence = self.sequence(key);
            sequence.scope == entry.scope && sequence.computed >= entry.length() && sequence.tokens.starts_with(&entry.tokens)
        })
    }

    /// Forgets copies that a slot's entry stands for, then those that are older, until that has room. Cells and copies together never take more memory than
    /// all the cells that there may be.
    fn make_parking_room(&mut self, cells: u32, slot: u32, tokens: u32, keep: Option<Place>) -> bool {
        let all = self.limits.cells - cells;
        if tokens > all {
            return false;
        }
        while let Some(ticket) = self.prefixes.remove_parked_like(slot, keep) {
            self.operations.push(Operation::Drop(ticket));
        }
        while self.prefixes.parked_tokens() + tokens > all {
            let Some(ticket) = self.prefixes.remove_parked_before(slot, keep) else { return false };
            self.operations.push(Operation::Drop(ticket));
        }
        true
    }

    /// Makes the cache larger, so that `wanted` cells are free if that can be.
    fn grow(&mut self, wanted: u32, keep: Option<Place>) -> bool {
        let total = self.cells.total();
        let needed = (total + wanted.saturating_sub(self.cells.free())).max(total + total / 2);
        let most = match keep {
            // The copy that is wanted stays beside the larger cache.
            Some(Place::Parked(_)) => self.limits.cells.saturating_sub(wanted) / GROWTH_CELLS * GROWTH_CELLS,
            _ => self.limits.cells,
        };
        let target = needed.next_multiple_of(GROWTH_CELLS).min(most);
        if target <= total {
            return false;
        }
        self.cells.grow(target);
        // Copies go before the cells come.
        while self.prefixes.parked_tokens() > self.limits.cells - target {
            let Some(ticket) = self.prefixes.remove_oldest_parked(keep) else { break };
            self.operations.push(Operation::Drop(ticket));
        }
        // Grown twice in a row is grown once.
        if let Some(Operation::Resize(cells)) = self.operations.last_mut() {
            *cells = target;
        } else {
            self.operations.push(Operation::Resize(target));
        }
        true
    }

    /// Makes a cache that has grown small again while nothing runs. What is cached in it is copied out, the latest
    /// first, as far as there is room for copies.
    pub(super) fn shrink(&mut self) {
        let start = self.limits.cells_start.min(self.limits.cells);
        if !self.running.is_empty() || self.waiting == 0 || self.cells.total() < start.saturating_mul(SHRINK_TIMES) {
            return;
        }
        self.park_beside(start, None);
        while self.evict_except(None) {}
        self.cells.reset(start);
        self.operations.push(Operation::Resize(start));
    }

    pub(super) fn give_up(&mut self, place: Place) {
        match place {
            Place::Slot(slot) => self.release(slot),
            Place::Parked(ticket) => self.operations.push(Operation::Drop(ticket)),
        }
    }

    /// Forgets the prefix in a slot that was not used for the longest time.
    pub(super) fn evict_except(&mut self, keep: Option<Place>) -> bool {
        let slot = self.prefixes.remove_oldest_slot(keep);
        if let Some(slot) = slot {
            self.release(slot);
        }
        slot.is_some()
    }

    /// The newest running sequence of the share that is furthest ahead, among shares with at least so many.
    /// Sequences in the present plan and, if it is the only one, the last sequence are spared.
    pub(super) fn victim(&self, except: Option<ShareIndex>, running_min: u32) -> Option<SequenceKey> {
        if self.running.len() < 2 {
            return None;
        }
        let newest = |share: ShareIndex| {
            self.running.iter().rev().copied().find(|&key| {
                let sequence = self.sequence(key);
                sequence.share == share && !sequence.planned
            })
        };
        let share =
            self.shares.furthest_ahead(|index, share| Some(index) != except && share.running >= running_min && newest(index).is_some())?;
        newest(share)
    }

    /// Takes a sequence's slot and puts it back at the head of its share's queue.
    pub(super) fn preempt(&mut self, key: SequenceKey) {
        let sequence = self.sequence_mut(key);
        sequence.computed = 0;
        let (slot, share) = (sequence.slot.take(), sequence.share);
        if let Some(slot) = slot {
            self.release(slot);
        }
        self.running.retain(|&other| other != key);
        let share = self.shares.get_mut(share);
        share.running -= 1;
        share.waiting.push_front(key);
        self.waiting += 1;
        self.preemptions += 1;
    }
}
