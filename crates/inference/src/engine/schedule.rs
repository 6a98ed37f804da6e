//! The scheduler: which tokens of which sequences are computed in the next step.
//!
//! A step holds one token for every running answer and pieces of prompts up to a budget, which go to the share that
//! is furthest behind. A prompt whose beginning another running sequence is just computing waits for it and then
//! shares its cells; what was computed stays as a cached prefix until its cells or its slot are wanted. When cells
//! or slots are short, the newest sequence of the share that is furthest ahead gives way and is computed again
//! later. No native code, no clock, no text: `plan` gives operations and rows, `commit` says they were computed.
//!
//! **Invariant:** operations and rows in the order given are valid for the cache: each row continues its sequence,
//! and there are never more cells in use than the cache has. Prefixes are shared within one [`Scope`] only.

use super::cells::Cells;
use super::prefixes::{Found, Prefixes, common_prefix};
use super::shares::{ShareIndex, Shares};
use super::{Share, Token};

/// Who may share prefixes: a digest of salt and adapter.
pub(crate) type Scope = [u8; 32];

/// Names a loaded adapter; `None` is the model as it is.
pub(crate) type AdapterKey = Option<u32>;

/// Names a sequence until it is finished.
pub(crate) type SequenceKey = usize;

/// How many waiting sequences of a share are looked at when those before them wait for a prefix.
const LOOK_AHEAD: usize = 32;

/// A prefix that is being computed is waited for if it saves at least so many tokens.
const WAIT_TOKENS_MIN: u32 = 32;

/// Steps that an adapter keeps the context while others have work too.
const ADAPTER_STEPS: u32 = 4;

/// Bounds of the scheduler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Cells of the cache.
    pub cells: u32,
    /// Sequences computed at once.
    pub sequences_max: u32,
    /// Sequences that the cache tells apart, running and cached.
    pub slots: u32,
    /// Tokens of a step.
    pub batch_tokens_max: u32,
    /// Prompt tokens of a step while answers are running, for each share that has prompts.
    pub busy_prompt_tokens_max: u32,
}

/// A sequence to be computed.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// Whose it is.
    pub share: Share,
    /// With whom it shares prefixes.
    pub scope: Scope,
    /// What it is computed with.
    pub adapter: AdapterKey,
    /// The prompt; not empty, and shorter than the cache.
    pub tokens: Vec<Token>,
}

/// A change of the cache ahead of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Forget a slot.
    Clear(u32),
    /// Forget everything.
    ClearAll,
    /// Let an empty slot begin with the first cells of another.
    Share {
        /// From.
        source: u32,
        /// To.
        target: u32,
        /// So many.
        length: u32,
    },
}

/// A token to be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The token.
    pub token: Token,
    /// Its place in the sequence.
    pub position: u32,
    /// The sequence's slot.
    pub slot: u32,
    /// Its logits are wanted.
    pub output: bool,
}

/// A step. Kept and filled again.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The adapter of all rows.
    pub adapter: AdapterKey,
    /// First these, in order.
    pub operations: Vec<Operation>,
    /// Then these.
    pub rows: Vec<Row>,
    /// Rows whose logits are wanted, and for which sequence.
    pub outputs: Vec<(usize, SequenceKey)>,
    /// Sequences that got a slot for the first time, with the tokens found in the cache.
    pub admitted: Vec<(SequenceKey, u32)>,
    parts: Vec<(SequenceKey, u32)>,
}

impl Plan {
    fn clear(&mut self) {
        self.operations.clear();
        self.rows.clear();
        self.outputs.clear();
        self.admitted.clear();
        self.parts.clear();
    }
}

#[derive(Debug)]
struct Sequence {
    share: ShareIndex,
    weight: u32,
    scope: Scope,
    adapter: AdapterKey,
    tokens: Vec<Token>,
    computed: u32,
    slot: Option<u32>,
    admitted: bool,
    has_preempted: bool,
    planned: bool,
}

impl Sequence {
    fn pending(&self) -> u32 {
        u32::try_from(self.tokens.len()).unwrap_or(u32::MAX) - self.computed
    }
}

/// The scheduler.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: Limits,
    cells: Cells,
    shares: Shares,
    sequences: Vec<Option<Sequence>>,
    unused: Vec<SequenceKey>,
    /// Sequences with a slot, oldest first.
    running: Vec<SequenceKey>,
    waiting: u32,
    free_slots: Vec<u32>,
    prefixes: Prefixes,
    operations: Vec<Operation>,
    adapter: AdapterKey,
    adapter_steps: u32,
    preemptions: u64,
}

impl Scheduler {
    /// Nothing to do yet.
    pub fn new(limits: Limits) -> Self {
        debug_assert!(limits.slots >= limits.sequences_max, "every running sequence has a slot");
        Self {
            limits,
            cells: Cells::new(limits.cells, limits.slots),
            shares: Shares::default(),
            sequences: Vec::new(),
            unused: Vec::new(),
            running: Vec::new(),
            waiting: 0,
            free_slots: (0..limits.slots).rev().collect(),
            prefixes: Prefixes::default(),
            operations: Vec::new(),
            adapter: None,
            adapter_steps: 0,
            preemptions: 0,
        }
    }

    /// Adds a sequence to its share's queue.
    pub fn submit(&mut self, work: Work) -> SequenceKey {
        debug_assert!(!work.tokens.is_empty() && work.tokens.len() < self.limits.cells as usize);
        let share = self.shares.enter(&work.share);
        let sequence = Sequence {
            share,
            weight: work.share.weight,
            scope: work.scope,
            adapter: work.adapter,
            tokens: work.tokens,
            computed: 0,
            slot: None,
            admitted: false,
            has_preempted: false,
            planned: false,
        };
        let key = if let Some(key) = self.unused.pop() {
            self.sequences[key] = Some(sequence);
            key
        } else {
            self.sequences.push(Some(sequence));
            self.sequences.len() - 1
        };
        self.shares.get_mut(share).waiting.push_back(key);
        self.waiting += 1;
        key
    }

    /// Appends the token that was chosen for a sequence.
    pub fn push(&mut self, key: SequenceKey, token: Token) {
        self.sequence_mut(key).tokens.push(token);
    }

    /// Prompt and answer of a sequence so far.
    #[cfg(test)]
    pub fn tokens(&self, key: SequenceKey) -> &[Token] {
        &self.sequence(key).tokens
    }

    /// Ends a sequence, complete or not; what was computed becomes a cached prefix.
    pub fn finish(&mut self, key: SequenceKey) {
        let Some(sequence) = self.sequences[key].take() else { return };
        self.unused.push(key);
        let Some(slot) = sequence.slot else {
            self.shares.get_mut(sequence.share).waiting.retain(|&other| other != key);
            self.waiting -= 1;
            return;
        };
        self.running.retain(|&other| other != key);
        self.shares.get_mut(sequence.share).running -= 1;
        let mut tokens = sequence.tokens;
        tokens.truncate(sequence.computed as usize);
        self.cells.cache(slot);
        let kept = self.prefixes.insert(slot, sequence.scope, sequence.adapter, tokens);
        for slot in kept {
            self.release(slot);
        }
    }

    /// Forgets the cached prefixes of an adapter.
    pub fn forget_adapter(&mut self, adapter: AdapterKey) {
        for slot in self.prefixes.remove_adapter(adapter) {
            self.release(slot);
        }
    }

    /// Whether a sequence that is not finished uses this adapter.
    pub fn uses_adapter(&self, adapter: AdapterKey) -> bool {
        self.sequences.iter().flatten().any(|sequence| sequence.adapter == adapter)
    }

    /// Charges a share for tokens that were computed outside the plan.
    pub fn charge(&mut self, share: &Share, tokens: u32) {
        let index = self.shares.enter(share);
        self.shares.charge(index, tokens, share.weight);
    }

    /// Whether any sequence is not finished.
    pub fn has_work(&self) -> bool {
        self.waiting > 0 || !self.running.is_empty()
    }

    /// Sequences without a slot.
    #[cfg(test)]
    pub fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Share of the cells that is in use, cached prefixes included: 0 to 1.
    pub fn usage(&self) -> f64 {
        1.0 - f64::from(self.cells.free()) / f64::from(self.cells.total().max(1))
    }

    /// Sequences that gave way so far.
    pub fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// Makes the next step. It has no rows only if there is nothing to do.
    pub fn plan(&mut self, plan: &mut Plan) {
        plan.clear();
        loop {
            let groups = self.groups();
            for &adapter in &groups {
                self.fill(plan, adapter);
                if !plan.rows.is_empty() {
                    self.adapter_steps = if adapter == self.adapter { self.adapter_steps + 1 } else { 1 };
                    self.adapter = adapter;
                    plan.adapter = adapter;
                    break;
                }
            }
            if plan.rows.is_empty() && self.running.len() > 1 {
                // Every running sequence is in the middle of its prompt and no cell is left.
                if let Some(victim) = self.victim(None, 1) {
                    self.preempt(victim);
                    continue;
                }
            }
            break;
        }
        plan.operations.append(&mut self.operations);
        for &(key, _) in &plan.parts {
            if let Some(sequence) = &mut self.sequences[key] {
                sequence.planned = false;
            }
        }
    }

    /// The rows of the plan were computed.
    pub fn commit(&mut self, plan: &Plan) {
        for &(key, count) in &plan.parts {
            if let Some(sequence) = &mut self.sequences[key] {
                sequence.computed += count;
            }
        }
    }

    /// The rows of the plan could not be computed: everything running starts again and nothing stays cached.
    pub fn restart(&mut self) {
        for slot in self.prefixes.remove_all() {
            self.release(slot);
        }
        while let Some(&key) = self.running.last() {
            self.preempt(key);
        }
        self.operations.clear();
        self.operations.push(Operation::ClearAll);
    }

    fn sequence(&self, key: SequenceKey) -> &Sequence {
        self.sequences[key].as_ref().expect("a key is valid until its sequence is finished")
    }

    fn sequence_mut(&mut self, key: SequenceKey) -> &mut Sequence {
        self.sequences[key].as_mut().expect("a key is valid until its sequence is finished")
    }

    fn release(&mut self, slot: u32) {
        self.cells.release(slot);
        self.free_slots.push(slot);
        self.operations.push(Operation::Clear(slot));
    }

    /// Adapters with work, in the order in which they should be tried.
    fn groups(&self) -> Vec<AdapterKey> {
        let mut groups: Vec<AdapterKey> = Vec::new();
        let waiting = self.shares.active().flat_map(|(_, share)| share.waiting.iter().take(LOOK_AHEAD));
        for &key in self.running.iter().chain(waiting) {
            let adapter = self.sequence(key).adapter;
            if !groups.contains(&adapter) {
                groups.push(adapter);
            }
        }
        groups.sort_unstable();
        let first = if self.adapter_steps < ADAPTER_STEPS {
            groups.iter().position(|&adapter| adapter == self.adapter)
        } else {
            groups.iter().position(|&adapter| adapter > self.adapter)
        };
        groups.rotate_left(first.unwrap_or(0));
        groups
    }

    fn is_decoding(&self, key: SequenceKey, adapter: AdapterKey) -> bool {
        let sequence = self.sequence(key);
        sequence.adapter == adapter && !sequence.planned && sequence.pending() == 1
    }

    fn decoding(&self, adapter: AdapterKey) -> u32 {
        let count = self.running.iter().filter(|&&key| self.is_decoding(key, adapter)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn fill(&mut self, plan: &mut Plan, adapter: AdapterKey) {
        let mut decoding = self.decoding(adapter);
        while self.cells.free() < decoding {
            if self.evict() {
                continue;
            }
            let Some(victim) = self.victim(None, 1) else { break };
            self.preempt(victim);
            decoding = self.decoding(adapter);
        }
        self.fill_prompts(plan, adapter, decoding);
        for index in 0..self.running.len() {
            let key = self.running[index];
            if self.is_decoding(key, adapter) && plan.rows.len() < self.limits.batch_tokens_max as usize {
                self.add_rows(plan, key, 1);
            }
        }
    }

    /// Gives the prompt budget to the shares, furthest behind first.
    fn fill_prompts(&mut self, plan: &mut Plan, adapter: AdapterKey, decoding: u32) {
        let mut budget = self.limits.batch_tokens_max.saturating_sub(decoding);
        if decoding > 0 {
            budget = budget.min(self.limits.busy_prompt_tokens_max.saturating_mul(self.shares_with_prompts(adapter)));
        }
        let mut blocked: Vec<ShareIndex> = Vec::new();
        let mut closed = false;
        while budget > 0 {
            let Some(share) = self.shares.furthest_behind(|index, _| !blocked.contains(&index)) else { break };
            let prompt = self.running_prompt(share, adapter);
            let key = match prompt {
                Some(key) => key,
                None if closed => {
                    blocked.push(share);
                    continue;
                }
                None => match self.admit(plan, share, adapter) {
                    Admission::Admitted(key) => key,
                    refused => {
                        // Nobody else may start before the share whose turn it is.
                        closed = matches!(refused, Admission::NoRoom);
                        blocked.push(share);
                        continue;
                    }
                },
            };
            // Rows for the answers are added at the end; their cells are spoken for.
            let decoding = self.decoding(adapter);
            let wanted = self.sequence(key).pending().min(budget);
            while self.cells.free() < wanted + decoding && self.evict() {}
            let count = wanted.min(self.cells.free().saturating_sub(decoding));
            if count == 0 {
                blocked.push(share);
                continue;
            }
            self.add_rows(plan, key, count);
            budget -= count;
        }
    }

    fn shares_with_prompts(&self, adapter: AdapterKey) -> u32 {
        let shares = self.shares.active();
        let wanting = shares.filter(|(index, share)| !share.waiting.is_empty() || self.running_prompt(*index, adapter).is_some());
        u32::try_from(wanting.count()).unwrap_or(u32::MAX)
    }

    /// The oldest running sequence of a share that is in the middle of its prompt and not in this plan yet.
    fn running_prompt(&self, share: ShareIndex, adapter: AdapterKey) -> Option<SequenceKey> {
        self.running.iter().copied().find(|&key| {
            let sequence = self.sequence(key);
            sequence.share == share && sequence.adapter == adapter && !sequence.planned && sequence.pending() > 1
        })
    }

    fn add_rows(&mut self, plan: &mut Plan, key: SequenceKey, count: u32) {
        let sequence = self.sequences[key].as_mut().expect("only live sequences are planned");
        let slot = sequence.slot.expect("only sequences with a slot are planned");
        let enough = self.cells.append(slot, count);
        debug_assert!(enough, "cells are counted before rows are added");
        let all = sequence.tokens.len();
        let first = sequence.computed as usize;
        for index in first..first + count as usize {
            let output = index + 1 == all;
            if output {
                plan.outputs.push((plan.rows.len(), key));
            }
            let position = u32::try_from(index).unwrap_or(u32::MAX);
            plan.rows.push(Row { token: sequence.tokens[index], position, slot, output });
        }
        sequence.planned = true;
        plan.parts.push((key, count));
        self.shares.charge(sequence.share, count, sequence.weight);
    }

    /// Most running sequences of one share: some slots are kept for others.
    fn share_sequences_max(&self) -> u32 {
        let all = self.limits.sequences_max;
        if all <= 1 { all } else { all - (all / 8).max(1) }
    }

    /// Gives a slot to the first waiting sequence of a share that can have one.
    fn admit(&mut self, plan: &mut Plan, share: ShareIndex, adapter: AdapterKey) -> Admission {
        if self.shares.get(share).running >= self.share_sequences_max() {
            return Admission::Nothing;
        }
        let candidates: Vec<SequenceKey> = self.shares.get(share).waiting.iter().copied().take(LOOK_AHEAD).collect();
        for key in candidates {
            if self.sequence(key).adapter != adapter {
                continue;
            }
            let Some(mut found) = self.find_prefix(key) else { continue };
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
            if length > best.map_or(0, |best| best.length) {
                best = Some(Found { slot, length });
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
        let (length, pinned) = found.map_or((0, 0), |found| (found.length, self.cells.not_running(found.slot, found.length)));
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
            let evicted = self.evict_except(found.map(|found| found.slot));
            debug_assert!(evicted, "there are more slots than running sequences and one source");
        };
        let length = found.map_or(0, |found| found.length);
        if let Some(found) = found {
            self.cells.share(found.slot, slot, found.length);
            self.operations.push(Operation::Share { source: found.slot, target: slot, length });
            self.prefixes.touch(found.slot);
        }
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

    fn evict(&mut self) -> bool {
        self.evict_except(None)
    }

    /// Forgets the cached prefix that was not used for the longest time.
    fn evict_except(&mut self, except: Option<u32>) -> bool {
        let slot = self.prefixes.remove_oldest(except);
        if let Some(slot) = slot {
            self.release(slot);
        }
        slot.is_some()
    }

    /// The newest running sequence of the share that is furthest ahead, among shares with at least so many.
    /// Sequences in the present plan and, if it is the only one, the last sequence are spared.
    fn victim(&self, except: Option<ShareIndex>, running_min: u32) -> Option<SequenceKey> {
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
    fn preempt(&mut self, key: SequenceKey) {
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

enum Admission {
    Admitted(SequenceKey),
    /// Nothing of this share can start now.
    Nothing,
    /// The share's turn has come but there is no room: nobody else may start before it.
    NoRoom,
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
