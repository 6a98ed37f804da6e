//! Who starts next, and with how much of its prompt already computed.
//!
//! **Invariant:** a sequence starts only when everything that has started could go on beside it for a while.

use super::prefixes::{Found, Place, common_prefix};
use super::shares::ShareIndex;
use super::{AdapterKey, Operation, Plan, Scheduler, SequenceKey};

/// How many waiting sequences of a share are looked at when those before them wait for a prefix.
pub(super) const LOOK_AHEAD: usize = 32;

/// A prefix that is being computed is waited for if it saves at least so many tokens.
const WAIT_TOKENS_MIN: u32 = 32;

/// Whether a share can start a sequence.
pub(super) enum Admission {
    Admitted(SequenceKey),
    /// Nothing of this share can start now.
    Nothing,
    /// The share's turn has come but there is no room: nobody else may start before it.
    NoRoom,
}

impl Scheduler {
    /// Most running sequences of one share: some slots are kept for others.
    fn share_sequences_max(&self) -> u32 {
        let all = self.limits.sequences_max;
        if all <= 1 { all } else { all - (all / 8).max(1) }
    }

    /// Gives a slot to the first waiting sequence of a share that can have one.
    pub(super) fn admit(&mut self, plan: &mut Plan, share: ShareIndex, adapter: AdapterKey) -> Admission {
        if self.shares.get(share).running >= self.share_sequences_max() {
            return Admission::Nothing;
        }
        let candidates: Vec<SequenceKey> = self.shares.get(share).waiting.iter().copied().take(LOOK_AHEAD).collect();
        for key in candidates {
            if self.sequence(key).adapter != adapter {
                continue;
            }
            let Some(mut found) = self.find_prefix(key) else { continue };
            if found.is_some_and(|found| matches!(found.place, Place::Parked(_))) && !self.fits(key, found) {
                found = None;
            }
            if !self.fits(key, found) {
                if self.shares.get(share).running > 0 || !self.may_make_room(key) {
                    return if self.shares.get(share).running > 0 { Admission::Nothing } else { Admission::NoRoom };
                }
                while !self.fits(key, found) {
                    let Some(victim) = self.victim(Some(share), 2) else { return Admission::NoRoom };
                    self.sequence_mut(key).has_preempted = true;
                    self.preempt(victim);
                    let Some(again) = self.find_prefix(key) else { return Admission::Nothing };
                    found = again;
                }
            }
            self.start(plan, key, found);
            return Admission::Admitted(key);
        }
        Admission::Nothing
    }

    /// The longest prefix of a waiting sequence in the cache; `None` if it should wait for one being computed.
    fn find_prefix(&self, key: SequenceKey) -> Option<Option<Found>> {
        let sequence = self.sequence(key);
        let wanted = &sequence.tokens[..sequence.tokens.len() - 1];
        let mut best = self.prefixes.find(&sequence.scope, wanted);
        let mut coming = 0;
        for &other in &self.running {
            let other = self.sequence(other);
            let Some(slot) = other.slot.filter(|_| other.scope == sequence.scope) else { continue };
            let common = common_prefix(wanted, &other.tokens);
            let length = common.min(other.computed);
            if length > best.map_or(0, |best| best.worth()) {
                best = Some(Found { place: Place::Slot(slot), length, whole: length });
            }
            coming = coming.max(common);
        }
        let present = best.map_or(0, |best| best.length);
        (coming < present + WAIT_TOKENS_MIN).then_some(best)
    }

    /// Whether a sequence could start now, with cells for everything that has started and some for growth.
    fn fits(&self, key: SequenceKey, found: Option<Found>) -> bool {
        let running = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        if running == 0 {
            return true;
        }
        let promised: u32 = self.running.iter().map(|&key| self.unplanned(key)).sum();
        let (length, pinned) = found.map_or((0, 0), |found| match found.place {
            Place::Slot(slot) => (found.length, self.cells.not_running(slot, found.length)),
            // It comes back whole, and the copy stays.
            Place::Parked(_) => (found.length, found.whole.saturating_mul(2)),
        });
        let own = u32::try_from(self.sequence(key).tokens.len()).unwrap_or(u32::MAX) - length;
        let growth = (16 * (running + 1)).min(self.limits.cells / 8);
        running < self.limits.sequences_max && self.cells.running() + promised + pinned + own + growth <= self.limits.cells
    }

    /// Tokens of a running sequence that have no cell yet.
    fn unplanned(&self, key: SequenceKey) -> u32 {
        let sequence = self.sequence(key);
        let held = sequence.slot.map_or(0, |slot| self.cells.length(slot));
        u32::try_from(sequence.tokens.len()).unwrap_or(u32::MAX).saturating_sub(held)
    }

    /// Whether others may have to give way for this sequence: once only, and only if that can be enough.
    fn may_make_room(&self, key: SequenceKey) -> bool {
        let sequence = self.sequence(key);
        if sequence.has_preempted {
            return false;
        }
        let mut spare = self.limits.cells.saturating_sub(self.cells.running());
        for (index, share) in self.shares.active() {
            if index == sequence.share || share.running < 2 {
                continue;
            }
            let newest = self.running.iter().rev().filter(|&&key| self.sequence(key).share == index);
            for &key in newest.take(share.running as usize - 1) {
                spare += self.sequence(key).slot.map_or(0, |slot| self.cells.length(slot));
            }
        }
        spare as usize >= sequence.tokens.len() + 16
    }

    fn start(&mut self, plan: &mut Plan, key: SequenceKey, found: Option<Found>) {
        let found = found.filter(|found| found.length > 0);
        let slot = loop {
            if let Some(slot) = self.free_slots.pop() {
                break slot;
            }
            let evicted = self.evict_except(found.map(|found| found.place));
            debug_assert!(evicted, "there are more slots than running sequences and one source");
        };
        let length = found.map_or(0, |found| self.begin_with(found, slot));
        let sequence = self.sequences[key].as_mut().expect("only live sequences start");
        sequence.slot = Some(slot);
        sequence.computed = length;
        if !sequence.admitted {
            sequence.admitted = true;
            plan.admitted.push((key, length));
        }
        let share = self.shares.get_mut(sequence.share);
        share.waiting.retain(|&other| other != key);
        share.running += 1;
        self.waiting -= 1;
        self.running.push(key);
    }

    /// Lets an empty slot begin with what was found; gives how many tokens it then has.
    fn begin_with(&mut self, found: Found, slot: u32) -> u32 {
        match found.place {
            Place::Slot(source) => {
                self.cells.share(source, slot, found.length);
                self.operations.push(Operation::Share { source, target: slot, length: found.length });
            }
            Place::Parked(ticket) => {
                while self.cells.free() < found.whole && self.make_room(found.whole, Some(found.place)) {}
                if !self.cells.append(slot, found.whole) {
                    return 0;
                }
                self.cells.truncate(slot, found.length);
                self.operations.push(Operation::Restore { ticket, target: slot, length: found.length });
            }
        }
        self.prefixes.touch(found.place);
        found.length
    }
}
