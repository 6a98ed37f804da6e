//! The scheduler against a cache that checks every operation and row.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::{Limits, Operation, Plan, Scheduler, Scope, SequenceKey, Ticket, Work};
use crate::engine::{Share, Token};

/// What llama.cpp's cache would hold: for each slot the cells, and for each cell its token and place.
struct Cache {
    limits: Limits,
    next_cell: u64,
    cells: u32,
    slots: HashMap<u32, Vec<(u64, Token)>>,
    parked: HashMap<Ticket, Vec<Token>>,
    computed: u32,
    steps: u32,
}

impl Cache {
    fn new(limits: Limits) -> Self {
        let cells = limits.cells_start.min(limits.cells);
        Self { limits, next_cell: 0, cells, slots: HashMap::new(), parked: HashMap::new(), computed: 0, steps: 0 }
    }

    fn apply(&mut self, plan: &Plan) {
        for &operation in &plan.operations {
            match operation {
                Operation::Clear(slot) => drop(self.slots.remove(&slot)),
                Operation::ClearAll => {
                    self.slots.clear();
                    self.parked.clear();
                }
                Operation::Resize(cells) => {
                    assert!(cells <= self.limits.cells, "the cache grows up to its limit");
                    self.cells = cells;
                    assert!(self.in_use() <= self.cells as usize, "what is in use has room");
                }
                Operation::Park { slot, ticket } => {
                    let copy = self.slots[&slot].iter().map(|(_, token)| *token).collect();
                    assert!(self.parked.insert(ticket, copy).is_none(), "a ticket is used once");
                }
                Operation::Restore { ticket, target, length } => {
                    assert!(self.slots.get(&target).is_none_or(Vec::is_empty), "the target of a copy is empty");
                    let copy = self.parked[&ticket].clone();
                    assert!(self.in_use() + copy.len() <= self.cells as usize, "there is room for the whole copy");
                    let cells = copy[..length as usize].iter().map(|&token| {
                        self.next_cell += 1;
                        (self.next_cell, token)
                    });
                    self.slots.insert(target, cells.collect());
                }
                Operation::Drop(ticket) => assert!(self.parked.remove(&ticket).is_some(), "a copy is dropped once"),
                Operation::Share { source, target, length } => {
                    assert!(self.slots.get(&target).is_none_or(Vec::is_empty), "the target of a share is empty");
                    let prefix = self.slots[&source][..length as usize].to_vec();
                    self.slots.insert(target, prefix);
                }
            }
        }
        assert!(plan.rows.len() <= self.limits.batch_tokens_max as usize);
        for row in &plan.rows {
            assert!(row.slot < self.limits.slots);
            let cells = self.slots.entry(row.slot).or_default();
            assert_eq!(cells.len(), row.position as usize, "a row continues its sequence");
            self.next_cell += 1;
            cells.push((self.next_cell, row.token));
        }
        assert!(self.in_use() <= self.cells as usize, "no more cells in use than there are");
        let parked: usize = self.parked.values().map(Vec::len).sum();
        assert!(self.cells as usize + parked <= self.limits.cells as usize, "copies and cells together have a limit");
        self.computed += u32::try_from(plan.rows.len()).unwrap();
        self.steps += 1;
    }

    fn in_use(&self) -> usize {
        self.slots.values().flatten().map(|(cell, _)| *cell).collect::<HashSet<u64>>().len()
    }

    /// The tokens that the logits of a row depend on.
    fn history(&self, slot: u32) -> Vec<Token> {
        self.slots[&slot].iter().map(|(_, token)| *token).collect()
    }
}

/// The scheduler, its cache, and answers of fixed length.
struct World {
    scheduler: Scheduler,
    cache: Cache,
    plan: Plan,
    left: HashMap<SequenceKey, u32>,
    scopes: HashMap<SequenceKey, Scope>,
    /// Step of each sequence's first token.
    first: HashMap<SequenceKey, u32>,
    cached: HashMap<SequenceKey, u32>,
    /// Tokens seen by scope.
    known: HashMap<Scope, HashSet<Vec<Token>>>,
    /// The cache may not grow; who had to go for that.
    is_short_of_memory: bool,
    refused: Vec<SequenceKey>,
}

fn limits() -> Limits {
    Limits { cells: 4096, cells_start: 1024, sequences_max: 8, slots: 24, batch_tokens_max: 512, busy_prompt_tokens_max: 128 }
}

impl World {
    fn new(limits: Limits) -> Self {
        Self {
            scheduler: Scheduler::new(limits),
            cache: Cache::new(limits),
            plan: Plan::default(),
            left: HashMap::new(),
            scopes: HashMap::new(),
            first: HashMap::new(),
            cached: HashMap::new(),
            known: HashMap::new(),
            is_short_of_memory: false,
            refused: Vec::new(),
        }
    }

    fn submit(&mut self, share: &str, salt: u8, tokens: Vec<Token>, answer: u32) -> SequenceKey {
        self.submit_weighted(share, 100, salt, None, tokens, answer)
    }

    fn submit_weighted(
        &mut self,
        share: &str,
        weight: u32,
        salt: u8,
        adapter: Option<u32>,
        tokens: Vec<Token>,
        answer: u32,
    ) -> SequenceKey {
        let mut scope = [salt; 32];
        scope[0] = adapter.map_or(0, |adapter| u8::try_from(adapter).unwrap() + 1);
        let share = Share { key: share.into(), weight };
        let key = self.scheduler.submit(Work { share, scope, adapter, tokens });
        self.left.insert(key, answer);
        self.first.remove(&key);
        self.scopes.insert(key, scope);
        key
    }

    /// False if the plan's growth was refused.
    fn grows(&mut self) -> bool {
        let refused = |operation: &Operation| matches!(operation, Operation::Resize(cells) if *cells > self.cache.cells);
        if !self.is_short_of_memory || !self.plan.operations.iter().any(refused) {
            return true;
        }
        self.cache.slots.clear();
        self.cache.parked.clear();
        self.scheduler.stay_at(self.cache.cells);
        false
    }

    fn step(&mut self) -> bool {
        while let Some((key, _)) = self.scheduler.too_long() {
            self.scheduler.finish(key);
            self.left.remove(&key);
            self.refused.push(key);
        }
        self.scheduler.plan(&mut self.plan);
        if !self.grows() {
            return true;
        }
        self.cache.apply(&self.plan);
        if self.plan.rows.is_empty() {
            assert!(!self.scheduler.has_work(), "with work to do a step has rows");
            return false;
        }
        self.scheduler.commit(&self.plan);
        for &(key, cached) in &self.plan.admitted {
            self.cached.insert(key, cached);
            if cached > 0 {
                let prefix = &self.scheduler.tokens(key)[..cached as usize];
                let known = &self.known[&self.scopes[&key]];
                assert!(known.iter().any(|other| other.starts_with(prefix)), "a prefix is found in its own scope only");
            }
        }
        let mut row = 0;
        for &(key, count) in &self.plan.parts {
            row += count as usize;
            let history = self.cache.history(self.plan.rows[row - 1].slot);
            self.known.entry(self.scopes[&key]).or_default().insert(history);
        }
        for index in 0..self.plan.outputs.len() {
            let (row, key) = self.plan.outputs[index];
            assert_eq!(self.cache.history(self.plan.rows[row].slot), self.scheduler.tokens(key), "the cache holds the sequence");
            self.first.entry(key).or_insert(self.cache.steps);
            let left = self.left.get_mut(&key).unwrap();
            *left -= 1;
            let full = self.scheduler.tokens(key).len() + 1 >= self.cache.limits.cells as usize;
            if *left == 0 || full {
                self.left.remove(&key);
                self.scheduler.finish(key);
            } else {
                let token = Token::try_from(self.scheduler.tokens(key).len()).unwrap() * 31 % 97 + 1000;
                self.scheduler.push(key, token);
            }
        }
        true
    }

    fn run(&mut self) {
        while self.step() {
            assert!(self.cache.steps < 100_000, "work ends");
        }
        assert!(self.left.is_empty());
    }
}

fn prompt(start: Token, length: Token) -> Vec<Token> {
    (start..start + length).collect()
}

#[test]
fn a_prefix_that_is_being_computed_is_waited_for() {
    let mut world = World::new(Limits { sequences_max: 32, slots: 64, cells: 8192, ..limits() });
    for tenant in 0..4_u8 {
        for request in 0..8 {
            let mut tokens = prompt(i32::from(tenant) * 10_000, 400);
            tokens.extend([90_000 + request, 90_001]);
            world.submit(&format!("tenant {tenant}"), tenant, tokens, 1);
        }
    }
    world.run();
    assert_eq!(world.cache.computed, 4 * 400 + 32 * 2, "each prefix is computed once");
    assert_eq!(world.cached.values().filter(|&&cached| cached == 400).count(), 28);
}

#[test]
fn equal_prompts_under_other_salts_share_nothing() {
    let mut world = World::new(limits());
    for salt in 0..3 {
        world.submit("one share", salt, prompt(0, 200), 4);
        world.run();
    }
    world.submit("another share", 2, prompt(0, 200), 4);
    world.run();
    let mut cached: Vec<u32> = world.cached.values().copied().collect();
    cached.sort_unstable();
    // The key of a finished sequence is used again, so the map holds the last one: found under its own salt.
    assert_eq!(cached, [199]);
    assert_eq!(world.cache.computed, 3 * 203 + 4);
}

#[test]
fn without_memory_for_growth_only_what_is_too_long_is_refused() {
    let mut world = World::new(limits());
    world.is_short_of_memory = true;
    let long = world.submit("long", 1, prompt(0, 2000), 4);
    let growing = world.submit("growing", 1, prompt(100_000, 900), 300);
    let short: Vec<SequenceKey> = (0..6).map(|index| world.submit("short", 2, prompt(10_000 * (index + 1), 300), 20)).collect();
    world.run();
    world.refused.sort_unstable();
    assert_eq!(world.refused, [long, growing]);
    assert!(short.iter().all(|key| world.first.contains_key(key)));
    assert_eq!(world.cache.cells, 1024);

    world.is_short_of_memory = false;
    world.submit("long", 1, prompt(0, 2000), 4);
    world.run();
    assert_eq!(world.refused.len(), 2, "with memory again it is served");
    assert!(world.cache.cells > 2000);
}

#[test]
fn a_flood_delays_a_quiet_share_by_about_one_step() {
    let mut world = World::new(limits());
    for request in 0..64 {
        world.submit("flood", 1, prompt(request * 1000, 300), 50);
    }
    for _ in 0..40 {
        world.step();
    }
    let before = world.cache.steps;
    let quiet = world.submit("quiet", 2, prompt(900_000, 100), 5);
    world.step();
    world.step();
    assert!(world.first[&quiet] <= before + 2, "the first token comes with the first or second step");
    world.run();
}

#[test]
fn shares_get_tokens_by_weight() {
    let mut world = World::new(Limits { sequences_max: 4, busy_prompt_tokens_max: 64, ..limits() });
    let mut computed = [0_u32; 2];
    let mut owners = HashMap::new();
    for request in 0..200 {
        for (index, weight) in [(0, 100), (1, 300)] {
            let share = format!("share {index}");
            let key = world.submit_weighted(&share, weight, index, None, prompt(request * 1000, 100), 1);
            owners.insert(key, usize::from(index));
        }
    }
    for _ in 0..60 {
        world.step();
        for &(key, count) in &world.plan.parts {
            computed[owners[&key]] += count;
        }
    }
    let ratio = f64::from(computed[1]) / f64::from(computed[0]);
    assert!((2.5..3.5).contains(&ratio), "{computed:?}");
}

#[test]
fn a_newcomer_does_not_pay_for_the_past_nor_claim_it() {
    let mut world = World::new(limits());
    world.submit("old", 1, prompt(0, 400), 100);
    world.run();
    let old = world.submit("old", 1, prompt(5000, 300), 1);
    let new = world.submit("new", 2, prompt(6000, 300), 1);
    world.run();
    assert!(world.first[&old].abs_diff(world.first[&new]) <= 1);
}

#[test]
fn what_has_ended_makes_room_and_comes_back() {
    let mut world = World::new(limits());
    for tenant in 0..3_u8 {
        world.submit(&format!("tenant {tenant}"), tenant, prompt(i32::from(tenant) * 10_000, 500), 4);
        world.run();
    }
    assert!(world.cache.in_use() <= 503, "only the latest lies in cells: {}", world.cache.in_use());
    assert_eq!(world.cache.cells, 1024, "the cache has not grown");
    let before = world.cache.computed;
    let mut tokens = prompt(0, 500);
    tokens.extend([7, 8, 9]);
    world.submit("tenant 0", 0, tokens, 1);
    world.run();
    assert_eq!(world.cache.computed - before, 3, "the prefix came back from its copy");
}

#[test]
fn the_cache_gets_smaller_when_nothing_runs() {
    let mut world = World::new(limits());
    for request in 0..6 {
        world.submit("share", 1, prompt(request * 1000, 500), 60);
    }
    world.run();
    assert!(world.cache.cells >= 3000, "six prompts at once: {}", world.cache.cells);
    let before = world.cache.computed;
    let mut tokens = prompt(5000, 500);
    tokens.push(7);
    world.submit("share", 1, tokens, 1);
    world.run();
    assert_eq!(world.cache.cells, 1024);
    assert_eq!(world.cache.computed - before, 1, "the latest prefix was kept");
}

#[test]
fn sequences_give_way_when_cells_are_short() {
    let mut world = World::new(Limits { cells: 512, sequences_max: 8, slots: 16, ..limits() });
    for request in 0..8 {
        world.submit("long", 1, prompt(request * 1000, 50), 200);
    }
    world.run();
    assert!(world.scheduler.preemptions() > 0);
}

#[test]
fn a_share_without_room_takes_some_from_one_with_much() {
    let mut world = World::new(Limits { cells: 1024, sequences_max: 8, slots: 16, ..limits() });
    for request in 0..7 {
        world.submit("wide", 1, prompt(request * 1000, 100), 400);
    }
    for _ in 0..12 {
        world.step();
    }
    let before = world.cache.steps;
    let key = world.submit("narrow", 2, prompt(50_000, 400), 2);
    for _ in 0..6 {
        world.step();
    }
    assert!(world.first.get(&key).is_some_and(|&first| first <= before + 6), "{:?}", world.first.get(&key));
    world.run();
}

#[test]
fn adapters_take_turns() {
    let mut world = World::new(limits());
    for adapter in [None, Some(0), Some(1)] {
        for request in 0..3 {
            world.submit_weighted("all", 100, 1, adapter, prompt(request * 1000, 50), 60);
        }
    }
    let mut turns = HashMap::new();
    for _ in 0..90 {
        world.step();
        *turns.entry(world.plan.adapter).or_insert(0) += 1;
    }
    assert!(turns.len() == 3 && turns.values().all(|&count| count >= 20), "{turns:?}");
    world.run();
}

#[test]
fn a_restart_loses_nothing() {
    let mut world = World::new(limits());
    for request in 0..6 {
        world.submit("share", 1, prompt(request * 1000, 100), 20);
    }
    for _ in 0..10 {
        world.step();
    }
    world.scheduler.restart();
    world.run();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_sequence_is_computed_as_it_stands(
        works in proptest::collection::vec((0..4_u8, 0..3_u8, 0..3_u32, 1..260_i32, 0..3_i32, 1..40_u32, 0..6_u32), 1..40),
        cells in prop_oneof![Just(320_u32), Just(512), Just(2048)],
        cells_start in prop_oneof![Just(256_u32), Just(768), Just(4096)],
        sequences_max in 1..9_u32,
        spare_slots in 1..12_u32,
        busy in 1..200_u32,
        cancels in proptest::collection::vec(0..40_usize, 0..6),
    ) {
        let limits =
            Limits { cells, cells_start, sequences_max, slots: sequences_max + spare_slots, batch_tokens_max: 128, busy_prompt_tokens_max: busy };
        let mut world = World::new(limits);
        let mut keys = Vec::new();
        for (index, (share, salt, adapter, length, variant, answer, steps)) in works.into_iter().enumerate() {
            // Prompts of few kinds, so that many begin alike.
            let mut tokens = prompt(variant * 10_000, length.min(200));
            tokens.push(Token::try_from(index).unwrap());
            let adapter = adapter.checked_sub(1);
            keys.push(world.submit_weighted(&format!("share {share}"), 50 + u32::from(share) * 100, salt, adapter, tokens, answer));
            for _ in 0..steps {
                world.step();
            }
            if cancels.contains(&index) {
                let key = keys[index / 2];
                if world.left.remove(&key).is_some() {
                    world.scheduler.finish(key);
                }
            }
        }
        world.run();
        prop_assert_eq!(world.scheduler.waiting(), 0);
    }
}
