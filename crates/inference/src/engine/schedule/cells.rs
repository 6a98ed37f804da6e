//! Account of the cache's cells: which sequence holds how many, and which are shared.
//!
//! llama.cpp does not say how full its cache is. With one buffer for all sequences a cell is free when no sequence
//! holds it, and sharing a prefix takes no cell, so an exact copy of the account can be kept here. Knows nothing of
//! tokens or requests.
//!
//! **Invariant:** a cell is free, or held by as many slots as its counts say; `free + held = total`.

/// The account.
#[derive(Debug)]
pub(crate) struct Cells {
    total: u32,
    free: Vec<u32>,
    holders: Vec<u16>,
    running_holders: Vec<u16>,
    running: u32,
    slots: Vec<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    cells: Vec<u32>,
    cached: bool,
}

impl Cells {
    /// All cells free.
    pub fn new(total: u32, slots: u32) -> Self {
        Self {
            total,
            free: (0..total).rev().collect(),
            holders: vec![0; total as usize],
            running_holders: vec![0; total as usize],
            running: 0,
            slots: (0..slots).map(|_| Slot::default()).collect(),
        }
    }

    /// All cells.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// From now on there are so many cells.
    pub fn grow(&mut self, total: u32) {
        debug_assert!(total >= self.total, "what is held stays");
        self.free.splice(0..0, (self.total..total).rev());
        self.holders.resize(total as usize, 0);
        self.running_holders.resize(total as usize, 0);
        self.total = total;
    }

    /// From now on there are so many cells, all free, as they are now.
    pub fn reset(&mut self, total: u32) {
        debug_assert_eq!(self.free(), self.total, "nobody holds a cell");
        let slots = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        *self = Self::new(total, slots);
    }

    /// Cells that nobody holds.
    pub fn free(&self) -> u32 {
        u32::try_from(self.free.len()).unwrap_or(u32::MAX)
    }

    /// Cells held by at least one slot that is not merely cached.
    pub fn running(&self) -> u32 {
        self.running
    }

    /// Cells that a slot holds.
    pub fn length(&self, slot: u32) -> u32 {
        u32::try_from(self.slots[slot as usize].cells.len()).unwrap_or(u32::MAX)
    }

    /// Gives free cells to a running slot. False, and nothing changed, if there are not enough.
    pub fn append(&mut self, slot: u32, count: u32) -> bool {
        let Some(left) = self.free.len().checked_sub(count as usize) else { return false };
        let slot = &mut self.slots[slot as usize];
        debug_assert!(!slot.cached, "a cached slot does not grow");
        for cell in self.free.drain(left..) {
            self.holders[cell as usize] = 1;
            self.running_holders[cell as usize] = 1;
            slot.cells.push(cell);
        }
        self.running += count;
        true
    }

    /// Gives back the cells behind the first so many of a slot that shares none of them.
    pub fn truncate(&mut self, slot: u32, length: u32) {
        let gone: Vec<u32> = self.slots[slot as usize].cells.drain(length as usize..).collect();
        for cell in gone.into_iter().rev() {
            debug_assert_eq!(self.holders[cell as usize], 1, "nobody else holds what is given back");
            self.holders[cell as usize] = 0;
            self.running_holders[cell as usize] = 0;
            self.running -= 1;
            self.free.push(cell);
        }
    }

    /// Lets an empty slot begin with the first cells of another.
    pub fn share(&mut self, source: u32, target: u32, length: u32) {
        let cells = self.slots[source as usize].cells[..length as usize].to_vec();
        for &cell in &cells {
            self.holders[cell as usize] += 1;
            self.running_holders[cell as usize] += 1;
            if self.running_holders[cell as usize] == 1 {
                self.running += 1;
            }
        }
        let target = &mut self.slots[target as usize];
        debug_assert!(target.cells.is_empty(), "only an empty slot takes over a prefix");
        target.cells = cells;
        target.cached = false;
    }

    /// How many of a slot's first cells no running slot holds.
    pub fn not_running(&self, slot: u32, length: u32) -> u32 {
        let cells = &self.slots[slot as usize].cells[..length as usize];
        let count = cells.iter().filter(|&&cell| self.running_holders[cell as usize] == 0).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// From now on the slot is only cached.
    pub fn cache(&mut self, slot: u32) {
        let slot = &mut self.slots[slot as usize];
        slot.cached = true;
        for &cell in &slot.cells {
            self.running_holders[cell as usize] -= 1;
            if self.running_holders[cell as usize] == 0 {
                self.running -= 1;
            }
        }
    }

    /// Empties a slot.
    pub fn release(&mut self, slot: u32) {
        if !self.slots[slot as usize].cached {
            self.cache(slot);
        }
        let slot = std::mem::take(&mut self.slots[slot as usize]);
        for cell in slot.cells {
            self.holders[cell as usize] -= 1;
            if self.holders[cell as usize] == 0 {
                self.free.push(cell);
            }
        }
    }
}
