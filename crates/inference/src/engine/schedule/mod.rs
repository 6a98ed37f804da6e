//! The scheduler: which tokens of which sequences are computed in the next step.
//!
//! A step holds one token for every running answer and pieces of prompts up to a budget, which go to the share that
//! is furthest behind. A prompt whose beginning another running sequence is just computing waits for it and then
//! shares its cells; what was computed stays as a cached prefix. When cells or slots are short even so, the newest sequence of the share that is furthest ahead gives way and is computed again
//! later. No native code, no clock, no text: `plan` gives operations and rows, `commit` says they were computed.
//!
//! **Invariant:** operations and rows in the order given are valid for the cache: each row continues its sequence,
//! and there are never more cells in use than the cache has. Prefixes are shared within one [`Scope`] only.

mod admission;
mod cells;
mod prefixes;
mod room;
mod shares;

use admission::{Admission, LOOK_AHEAD};
use cells::Cells;
use prefixes::Prefixes;
use shares::{ShareIndex, Shares};

use super::{Share, Token};

/// Who may share prefixes: a digest of salt and adapter.
pub(crate) type Scope = [u8; 32];

/// Names a loaded adapter; `None` is the model as it is.
pub(crate) type AdapterKey = Option<u32>;

/// Names a sequence until it is finished.
pub(crate) type SequenceKey = usize;

/// Names a copy of a prefix outside the cache.
pub(crate) type Ticket = u64;

/// Steps that an adapter keeps the context while others have work too.
const ADAPTER_STEPS: u32 = 4;

/// Bounds of the scheduler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most cells of the cache; with the copies that lie outside of it, most tokens that are kept.
    pub cells: u32,
    /// Cells that the cache starts with.
    pub cells_start: u32,
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
    /// Forget everything, copies too.
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
    /// Make the cache of so many cells; what it holds stays.
    Resize(u32),
    /// Copy a slot out of the cache.
    Park {
        /// From.
        slot: u32,
        /// The copy's name.
        ticket: Ticket,
    },
    /// Let an empty slot begin with the first cells of a copy.
    Restore {
        /// The copy.
        ticket: Ticket,
        /// To.
        target: u32,
        /// So many.
        length: u32,
    },
    /// Forget a copy.
    Drop(Ticket),
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
    /// `Limits::cells` as it was ordered; the limit is lower while there is no memory for so many.
    cells_ordered: u32,
    cells: Cells,
    shares: Shares,
    sequences: Vec<Option<Sequence>>,
    unused: Vec<SequenceKey>,
    /// Sequences with a slot, oldest first.
    running: Vec<SequenceKey>,
    waiting: u32,
    free_slots: Vec<u32>,
    prefixes: Prefixes,
    tickets: Ticket,
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
            cells_ordered: limits.cells,
            cells: Cells::new(limits.cells_start.min(limits.cells), limits.slots),
            shares: Shares::default(),
            sequences: Vec::new(),
            unused: Vec::new(),
            running: Vec::new(),
            waiting: 0,
            free_slots: (0..limits.slots).rev().collect(),
            prefixes: Prefixes::default(),
            tickets: 0,
            operations: Vec::new(),
            adapter: None,
            adapter_steps: 0,
            preemptions: 0,
        }
    }

    /// Adds a sequence to its share's queue.
    pub fn submit(&mut self, work: Work) -> SequenceKey {
        debug_assert!(!work.tokens.is_empty() && work.tokens.len() < self.cells_ordered as usize);
        if !self.has_work() {
            // Perhaps there is memory again.
            self.limits.cells = self.cells_ordered;
        }
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
        for place in self.prefixes.insert(slot, sequence.scope, sequence.adapter, tokens) {
            self.give_up(place);
        }
    }

    /// Forgets the cached prefixes of an adapter.
    pub fn forget_adapter(&mut self, adapter: AdapterKey) {
        for place in self.prefixes.remove_adapter(adapter) {
            self.give_up(place);
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
        let used = self.cells.total() - self.cells.free() + self.prefixes.parked_tokens();
        f64::from(used) / f64::from(self.limits.cells.max(1))
    }

    /// Sequences that gave way so far.
    pub fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// Makes the next step. It has no rows only if there is nothing to do.
    pub fn plan(&mut self, plan: &mut Plan) {
        plan.clear();
        self.shrink();
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
        if !plan.rows.is_empty() {
            self.park_cached(None);
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
        for place in self.prefixes.remove_all() {
            self.give_up(place);
        }
        while let Some(&key) = self.running.last() {
            self.preempt(key);
        }
        self.operations.clear();
        self.operations.push(Operation::ClearAll);
    }

    /// The cache could not grow: it has so many cells, and as long as there is work it stays so. As
    /// [`Scheduler::restart`] otherwise.
    pub fn stay_at(&mut self, cells: u32) {
        self.restart();
        self.cells.reset(cells);
        self.limits.cells = cells;
    }

    /// A sequence that needs more cells than there are, and how many there are.
    pub fn too_long(&self) -> Option<(SequenceKey, u32)> {
        let cells = self.limits.cells;
        if cells == self.cells_ordered {
            return None;
        }
        let is_too_long = |sequence: &Sequence| sequence.tokens.len() > cells as usize;
        self.sequences.iter().position(|sequence| sequence.as_ref().is_some_and(is_too_long)).map(|key| (key, cells))
    }

    fn sequence(&self, key: SequenceKey) -> &Sequence {
        self.sequences[key].as_ref().expect("a key is valid until its sequence is finished")
    }

    fn sequence_mut(&mut self, key: SequenceKey) -> &mut Sequence {
        self.sequences[key].as_mut().expect("a key is valid until its sequence is finished")
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
            if self.make_room(decoding, None) {
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
            while self.cells.free() < wanted + decoding && self.make_room(wanted + decoding, None) {}
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
}

#[cfg(test)]
mod tests;
