//! Weighted fair queueing: whose turn it is, in virtual time.
//!
//! Each token that is computed for a share moves the share's virtual time on by one over its weight; the share that
//! is furthest behind is served next. A share that comes back after a pause starts at the present virtual time, so
//! it is served soon but cannot claim the time in which it asked for nothing. Knows no clock and no tokens' meaning.
//!
//! **Invariant:** virtual times never go back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Share;

/// Names a share while it has sequences.
pub(crate) type ShareIndex = usize;

/// Virtual time of one token at weight 1.
const TOKEN: u64 = 1_000_000;

/// Shares that are remembered beyond their last sequence, before idle ones are forgotten.
const REMEMBERED: usize = 1024;

/// All shares.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    indexes: HashMap<Arc<str>, ShareIndex>,
    shares: Vec<ShareState>,
    unused: Vec<ShareIndex>,
    latest: u64,
}

/// One share.
#[derive(Debug)]
pub(crate) struct ShareState {
    virtual_time: u64,
    /// Sequences that wait for a slot, first come first served.
    pub waiting: VecDeque<usize>,
    /// Sequences that have a slot.
    pub running: u32,
}

impl ShareState {
    fn idle(&self) -> bool {
        self.waiting.is_empty() && self.running == 0
    }
}

impl Shares {
    /// The share of this key, brought up to the present if it was idle.
    pub fn enter(&mut self, share: &Share) -> ShareIndex {
        let present = self.present();
        if let Some(&index) = self.indexes.get(&share.key) {
            let state = &mut self.shares[index];
            if state.idle() {
                state.virtual_time = state.virtual_time.max(present);
            }
            return index;
        }
        if self.indexes.len() >= REMEMBERED {
            self.forget(present);
        }
        let state = ShareState { virtual_time: present, waiting: VecDeque::new(), running: 0 };
        let index = if let Some(index) = self.unused.pop() {
            self.shares[index] = state;
            index
        } else {
            self.shares.push(state);
            self.shares.len() - 1
        };
        self.indexes.insert(Arc::clone(&share.key), index);
        index
    }

    /// Forgets idle shares that would start at the present anyway.
    fn forget(&mut self, present: u64) {
        let (shares, unused) = (&self.shares, &mut self.unused);
        self.indexes.retain(|_, &mut index| {
            let keep = !shares[index].idle() || shares[index].virtual_time > present;
            if !keep {
                unused.push(index);
            }
            keep
        });
    }

    /// The share that is furthest behind among those that `wants` accepts; ties go to the one that came first.
    pub fn furthest_behind(&self, mut wants: impl FnMut(ShareIndex, &ShareState) -> bool) -> Option<ShareIndex> {
        let mut best: Option<ShareIndex> = None;
        for (index, state) in self.shares.iter().enumerate() {
            if !state.idle() && best.is_none_or(|best| state.virtual_time < self.shares[best].virtual_time) && wants(index, state) {
                best = Some(index);
            }
        }
        best
    }

    /// The share that is furthest ahead among those that `wants` accepts.
    pub fn furthest_ahead(&self, mut wants: impl FnMut(ShareIndex, &ShareState) -> bool) -> Option<ShareIndex> {
        let accepted = self.shares.iter().enumerate().filter(|(index, state)| !state.idle() && wants(*index, state));
        accepted.max_by_key(|(_, state)| state.virtual_time).map(|(index, _)| index)
    }

    /// The virtual time at which a newcomer starts: that of the active share that is furthest behind.
    fn present(&self) -> u64 {
        self.active().map(|(_, state)| state.virtual_time).min().unwrap_or(self.latest)
    }

    /// Moves a share on by the tokens that are computed for it.
    pub fn charge(&mut self, index: ShareIndex, tokens: u32, weight: u32) {
        let state = &mut self.shares[index];
        state.virtual_time += u64::from(tokens) * TOKEN / u64::from(weight.clamp(1, 1000));
        self.latest = self.latest.max(state.virtual_time);
    }

    /// One share.
    pub fn get(&self, index: ShareIndex) -> &ShareState {
        &self.shares[index]
    }

    /// One share, to change its lists.
    pub fn get_mut(&mut self, index: ShareIndex) -> &mut ShareState {
        &mut self.shares[index]
    }

    /// All shares that have sequences.
    pub fn active(&self) -> impl Iterator<Item = (ShareIndex, &ShareState)> {
        self.shares.iter().enumerate().filter(|(_, state)| !state.idle())
    }
}
