//! Filters as a tree of levels: what finds the few of many that may match, however many shapes they have.
//!
//! Each node is how some filters begin. A name, or a filter as if it were one, is followed level by level: to the literal
//! that it has there, and to `+`. So only beginnings are entered that match, 2^n at the most behind n levels, and none of
//! them twice.

use alloc::vec::Vec;
use core::cell::Cell;
use core::ops::ControlFlow;

use hashbrown::HashTable;

use crate::rule::Effect;
use crate::table::{Levels, hash_of, mix};

/// Several trees, each with a root of its own. Rules are numbers; whoever asks knows what they are, and whether those
/// that are found match: two levels whose hashes are equal by chance are one here.
#[derive(Default)]
pub(crate) struct FilterTree {
    nodes: Vec<Node>,
    literals: HashTable<Literal>,
    leaves: Vec<Leaf>,
}

struct Node {
    plus: u32,
    /// The last of those with a literal more, and the one before this among those of the node above.
    child: u32,
    sibling: u32,
    /// The first of the filters that end here, and of those that have `#` more.
    here: u32,
    multi: u32,
    /// Of all filters that begin so.
    effect: Effect,
}

/// The node with a literal level more.
struct Literal {
    /// Of the node above and of the level.
    key: u64,
    node: u32,
}

/// One of the rules with equal filters.
struct Leaf {
    rule: u32,
    next: u32,
}

impl FilterTree {
    /// A new root, with nothing below.
    pub(crate) fn root(&mut self) -> u32 {
        self.node()
    }

    /// Adds a rule, unless one with this filter is the `same`, which is returned then.
    pub(crate) fn insert(
        &mut self,
        root: u32,
        filter: &str,
        effect: Effect,
        rule: u32,
        same: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let (mut number, mut open) = (root, false);
        for (level, depth) in filter.split('/').zip(0_u16..) {
            self.join(number, effect);
            match level {
                "#" => open = true,
                "+" => number = self.plus(number),
                _ => number = self.literal(number, hash_of(level.as_bytes(), depth)),
            }
        }
        self.join(number, effect);
        let node = self.nodes.get(widen(number))?;
        let first = if open { node.multi } else { node.here };
        if let Some(known) = self.rules(first).take(SAME).find(|rule| same(*rule)) {
            return Some(known);
        }
        let leaf = place(self.leaves.len());
        self.leaves.push(Leaf { rule, next: first });
        let node = self.nodes.get_mut(widen(number))?;
        *(if open { &mut node.multi } else { &mut node.here }) = leaf;
        None
    }

    /// Calls `visit` with every rule whose filter may match, those with wildcards first, as long as a rule can have an
    /// effect that is wanted; `visit` may want less. Returns how many nodes were entered.
    pub(crate) fn visit(
        &self,
        root: u32,
        levels: &Levels<'_>,
        wanted: &mut Effect,
        visit: &mut impl FnMut(u32, &mut Effect),
    ) -> usize {
        let mut walk = Walk {
            tree: self,
            levels,
            wanted,
            visit,
            entered: 0,
        };
        walk.enter(root, 0, levels.further());
        walk.entered
    }

    /// Calls `visit` with every rule that may overlap this filter, until it breaks, or until there are no more `steps`:
    /// entering a node takes one.
    pub(crate) fn visit_overlapping(
        &self,
        root: u32,
        filter: &str,
        steps: &Steps,
        visit: &mut impl FnMut(u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.overlap(root, 0, Some(filter), steps, visit)
    }

    /// `rest` is what follows the levels behind, if any does. As deep as filters are, 201 levels at the most.
    fn overlap(
        &self,
        number: u32,
        depth: u16,
        rest: Option<&str>,
        steps: &Steps,
        visit: &mut impl FnMut(u32) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(node) = self.nodes.get(widen(number)) else {
            return ControlFlow::Continue(());
        };
        steps.take(1)?;
        self.rules(node.multi).try_for_each(&mut *visit)?;
        let (level, further) = match rest.map(|rest| rest.split_once('/')) {
            None => return self.rules(node.here).try_for_each(visit),
            Some(None) => (rest.unwrap_or_default(), None),
            Some(Some((level, further))) => (level, Some(further)),
        };
        let is_open = level == "#";
        if is_open {
            self.rules(node.here).try_for_each(&mut *visit)?;
        }
        // Behind `#` everything is below another one.
        let further = if is_open { rest } else { further };
        let below = depth.saturating_add(1);
        self.overlap(node.plus, below, further, steps, visit)?;
        if !is_open && level != "+" {
            let next = self.below(number, hash_of(level.as_bytes(), depth));
            return self.overlap(next, below, further, steps, visit);
        }
        let mut next = node.child;
        while let Some(child) = self.nodes.get(widen(next)) {
            self.overlap(next, below, further, steps, visit)?;
            next = child.sibling;
        }
        ControlFlow::Continue(())
    }

    /// From a first leaf on.
    fn rules(&self, first: u32) -> impl Iterator<Item = u32> {
        let leaf = |number: u32| self.leaves.get(widen(number));
        core::iter::successors(leaf(first), move |last| leaf(last.next)).map(|leaf| leaf.rule)
    }

    fn node(&mut self) -> u32 {
        let number = place(self.nodes.len());
        self.nodes.push(Node {
            plus: NONE,
            child: NONE,
            sibling: NONE,
            here: NONE,
            multi: NONE,
            effect: Effect::default(),
        });
        number
    }

    fn join(&mut self, number: u32, effect: Effect) {
        if let Some(node) = self.nodes.get_mut(widen(number)) {
            node.effect = node.effect.join(effect);
        }
    }

    /// Finds or makes the node with `+` more.
    fn plus(&mut self, number: u32) -> u32 {
        let known = self.nodes.get(widen(number)).map_or(NONE, |node| node.plus);
        if known != NONE {
            return known;
        }
        let new = self.node();
        if let Some(node) = self.nodes.get_mut(widen(number)) {
            node.plus = new;
        }
        new
    }

    /// Finds or makes the node with a literal more.
    fn literal(&mut self, number: u32, level: u64) -> u32 {
        let known = self.below(number, level);
        if known != NONE {
            return known;
        }
        let node = self.node();
        if let Some(above) = self.nodes.get_mut(widen(number)) {
            let sibling = core::mem::replace(&mut above.child, node);
            if let Some(new) = self.nodes.get_mut(widen(node)) {
                new.sibling = sibling;
            }
        }
        let key = mix(number.into(), level);
        self.literals
            .insert_unique(key, Literal { key, node }, |literal| literal.key);
        node
    }

    fn below(&self, number: u32, level: u64) -> u32 {
        let key = mix(number.into(), level);
        let found = self.literals.find(key, |literal| literal.key == key);
        found.map_or(NONE, |literal| literal.node)
    }
}

struct Walk<'t, F> {
    tree: &'t FilterTree,
    levels: &'t Levels<'t>,
    wanted: &'t mut Effect,
    visit: &'t mut F,
    entered: usize,
}

impl<F: FnMut(u32, &mut Effect)> Walk<'_, F> {
    /// `depth` is the number of levels behind, `further` what follows those whose hashes are known. A filter has 201 levels
    /// at the most, so that this is entered as deep.
    fn enter(&mut self, number: u32, depth: u16, further: &[u8]) {
        let tree = self.tree;
        let Some(node) = tree.nodes.get(widen(number)) else {
            return;
        };
        self.entered = self.entered.saturating_add(1);
        if !node.effect.intersects(*self.wanted) {
            return;
        }
        self.hear(node.multi);
        if depth >= self.levels.count() {
            return self.hear(node.here);
        }
        let (level, further) = self.levels.hash(depth, further);
        let below = depth.saturating_add(1);
        if node.plus != NONE {
            self.enter(node.plus, below, further);
            if !node.effect.intersects(*self.wanted) {
                return;
            }
        }
        self.enter(tree.below(number, level), below, further);
    }

    fn hear(&mut self, first: u32) {
        self.tree
            .rules(first)
            .for_each(|rule| (self.visit)(rule, self.wanted));
    }
}

/// How much work is left.
pub(crate) struct Steps(Cell<usize>);

impl Steps {
    pub(crate) const fn new(most: usize) -> Self {
        Self(Cell::new(most))
    }

    /// Breaks if there are not so many.
    pub(crate) fn take(&self, count: usize) -> ControlFlow<()> {
        let left = self.0.get();
        self.0.set(left.saturating_sub(count));
        if left < count {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.0.get()
    }
}

/// As many rules of a filter are compared with a new one: there are no more kinds of them, but for patterns, which are
/// different already.
const SAME: usize = 6;
/// No node, no leaf.
const NONE: u32 = u32::MAX;

fn widen(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Four thousand million do not fit in the memory of a machine that could parse them.
fn place(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(NONE)
}
