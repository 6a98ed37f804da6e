//! The order of moves: what is depended on goes first, what depends on each other goes together.
//!
//! Works on numbered nodes only. **Invariant:** every node is in exactly one wave, after every node that it depends
//! on, unless the two depend on each other.

use std::collections::BTreeSet;

/// A node's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// 0-based wave: one more than the latest wave it depends on.
    pub wave: usize,
    /// The other nodes that it must move together with, because they depend on each other.
    pub together: Vec<usize>,
}

/// The places of nodes, given what each depends on.
pub fn places(depends_on: &[BTreeSet<usize>]) -> Vec<Place> {
    let component = components(depends_on);
    let count = component.iter().max().map_or(0, |last| last + 1);
    let mut members = vec![Vec::new(); count];
    for (node, component) in component.iter().enumerate() {
        members[*component].push(node);
    }
    // Components are numbered in an order in which dependencies come first.
    let mut wave = vec![0; count];
    for index in 0..count {
        let before = members[index].iter().flat_map(|node| &depends_on[*node]).map(|node| component[*node]).filter(|other| *other != index);
        wave[index] = before.map(|other| wave[other] + 1).max().unwrap_or(0);
    }
    let place = |node: usize| {
        let own = component[node];
        Place { wave: wave[own], together: members[own].iter().copied().filter(|other| *other != node).collect() }
    };
    (0..depends_on.len()).map(place).collect()
}

/// Strongly connected components (Kosaraju, without recursion), numbered so that dependencies have lower numbers.
fn components(depends_on: &[BTreeSet<usize>]) -> Vec<usize> {
    let total = depends_on.len();
    let mut reverse = vec![BTreeSet::new(); total];
    for (node, targets) in depends_on.iter().enumerate() {
        for target in targets {
            reverse[*target].insert(node);
        }
    }
    // First pass over the reversed edges; in its reverse finishing order, what nothing depends on comes first.
    let finished = finishing_order(&reverse);
    let mut component = vec![usize::MAX; total];
    let mut next = 0;
    for root in finished.into_iter().rev() {
        if component[root] != usize::MAX {
            continue;
        }
        let mut stack = vec![root];
        component[root] = next;
        while let Some(node) = stack.pop() {
            for target in &depends_on[node] {
                if component[*target] == usize::MAX {
                    component[*target] = next;
                    stack.push(*target);
                }
            }
        }
        next += 1;
    }
    component
}

fn finishing_order(edges: &[BTreeSet<usize>]) -> Vec<usize> {
    let mut seen = vec![false; edges.len()];
    let mut order = Vec::with_capacity(edges.len());
    for root in 0..edges.len() {
        if seen[root] {
            continue;
        }
        seen[root] = true;
        let mut stack = vec![(root, edges[root].iter())];
        while let Some((node, targets)) = stack.last_mut() {
            match targets.find(|target| !seen[**target]) {
                Some(target) => {
                    seen[*target] = true;
                    let target = *target;
                    stack.push((target, edges[target].iter()));
                }
                None => {
                    order.push(*node);
                    stack.pop();
                }
            }
        }
    }
    order
}
