//! Filters with wildcards: a tree of levels whose edges are one hash table keyed by (node, level).

use alloc::string::String;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::HashTable;

use super::text::LevelText;
use super::walk::NameLevels;
use crate::slab::{NONE, Slab, widen};
use crate::table::{add, hash_text, take};
use crate::{TopicFilter, TopicName};

/// The number that stands for the root, which is no record.
const ROOT: u32 = NONE - 1;

/// Where a filter ends: at a node, or with `#` below it. A filter's number is kept there.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) node: u32,
    pub(super) multi: bool,
}

#[derive(Debug)]
pub(super) struct WildTree {
    root: Node,
    nodes: Slab<Node>,
    /// Nodes by parent and literal level.
    edges: HashTable<u32>,
}

/// One level of one or more filters. 40 bytes.
#[derive(Debug)]
struct Node {
    /// What leads here from the parent.
    text: LevelText,
    /// Hash of the edge that leads here.
    hash: u32,
    parent: u32,
    /// The node below for `+`.
    plus: u32,
    /// The filter that ends here.
    here: u32,
    /// The filter that ends with `#` below.
    multi: u32,
    /// How many nodes below are literal levels.
    literals: u32,
}

impl WildTree {
    pub(super) const fn new() -> WildTree {
        WildTree {
            root: Node::new(LevelText::Any, 0, NONE),
            nodes: Slab::new(),
            edges: HashTable::new(),
        }
    }

    /// Finds or makes the place of a filter.
    pub(super) fn make<S: BuildHasher>(&mut self, hasher: &S, filter: TopicFilter<'_>) -> End {
        let mut node = ROOT;
        for level in filter.levels() {
            node = match level {
                "#" => return End { node, multi: true },
                "+" => self.make_plus(node),
                literal => self.make_literal(hasher, node, literal),
            };
        }
        End { node, multi: false }
    }

    /// The filter that ends there, [`NONE`] if there is none.
    pub(super) fn filter_at(&self, end: End) -> u32 {
        match self.node(end.node) {
            Some(node) if end.multi => node.multi,
            Some(node) => node.here,
            None => NONE,
        }
    }

    pub(super) fn set_filter(&mut self, end: End, filter: u32) {
        match self.node_mut(end.node) {
            Some(node) if end.multi => node.multi = filter,
            Some(node) => node.here = filter,
            None => {}
        }
    }

    /// Takes the filter away that ends there, and every node that leads nowhere then.
    pub(super) fn remove(&mut self, end: End) {
        self.set_filter(end, NONE);
        let mut number = end.node;
        while number != ROOT && self.node(number).is_some_and(Node::is_bare) {
            let Some(node) = self.nodes.get(number) else {
                return;
            };
            let (parent, hash, is_plus) = (node.parent, node.hash, node.text.is_any());
            if !is_plus {
                let nodes = &self.nodes;
                take(&mut self.edges, spread(hash), number, |number| {
                    rehash(nodes, number)
                });
            }
            self.nodes.remove(number);
            if let Some(parent) = self.node_mut(parent) {
                if is_plus {
                    parent.plus = NONE;
                } else {
                    parent.literals = parent.literals.saturating_sub(1);
                }
            }
            number = parent;
        }
    }

    /// Writes the text of the filter that ends there.
    pub(super) fn write_filter(&self, end: End, out: &mut String) {
        let mut path = Vec::new();
        let mut number = end.node;
        while number != ROOT
            && let Some(node) = self.nodes.get(number)
        {
            path.push(node.text.as_str());
            number = node.parent;
        }
        let multi = end.multi.then_some("#");
        for (place, level) in path.into_iter().rev().chain(multi).enumerate() {
            if place > 0 {
                out.push('/');
            }
            out.push_str(level);
        }
    }

    /// The first level of the filter that ends there.
    pub(super) fn first_level(&self, end: End) -> &str {
        let mut first = "#";
        let mut number = end.node;
        while number != ROOT
            && let Some(node) = self.nodes.get(number)
        {
            first = node.text.as_str();
            number = node.parent;
        }
        first
    }

    /// Calls `found` with the number of every filter that matches. Returns how many nodes were entered.
    ///
    /// A node has two ways on at the most, the literal level and `+`, and none is entered twice. So there are two bounds:
    /// 2^(n+1) - 1 for a name of n levels, and the nodes that exist.
    pub(super) fn walk<S: BuildHasher>(
        &self,
        hasher: &S,
        name: TopicName<'_>,
        found: impl FnMut(u32),
    ) -> usize {
        let text = name.as_str();
        if self.root.is_bare() || text.len() >= widen(NONE) {
            return 0;
        }
        // A small table is cheaper to prepare. The large one holds every name within the default limits; the levels
        // of a deeper one are hashed each time.
        if text.bytes().filter(|byte| *byte == b'/').count() < FEW_LEVELS {
            self.walk_levels(name, &mut NameLevels::<S, FEW_LEVELS>::new(text, hasher), found)
        } else {
            self.walk_levels(name, &mut NameLevels::<S, MANY_LEVELS>::new(text, hasher), found)
        }
    }

    /// Depth first, without a stack: nodes know their parents, and of a node's two ways on the literal one comes first.
    fn walk_levels<S: BuildHasher, const N: usize>(
        &self,
        name: TopicName<'_>,
        levels: &mut NameLevels<'_, '_, S, N>,
        mut found: impl FnMut(u32),
    ) -> usize {
        let dollar = name.starts_with_dollar();
        let (mut number, mut node) = (ROOT, &self.root);
        // How many levels lead to `node`, and where the next one begins.
        let (mut depth, mut start) = (0_usize, 0_u32);
        let mut entered = 0_usize;
        loop {
            entered = entered.saturating_add(1);
            // v5 [MQTT-4.7.2-1]
            let barred = dollar && depth == 0;
            if node.multi != NONE && !barred {
                found(node.multi);
            }
            let mut below = None;
            if node.literals > 0 || node.plus != NONE || node.here != NONE {
                match levels.get(depth, start) {
                    None if node.here != NONE => found(node.here),
                    None => {}
                    Some(level) => {
                        if node.literals > 0 {
                            below = self.edge(number, level.text, level.hash);
                        }
                        if below.is_none() && !barred {
                            below = self.plus_of(node);
                        }
                        if below.is_some() {
                            start = level.next;
                        }
                    }
                }
            }
            // Back to the nearest node whose `+` was not followed yet.
            (number, node) = loop {
                if let Some(below) = below {
                    break below;
                }
                if number == ROOT {
                    return entered;
                }
                let was_plus = node.text.is_any();
                number = node.parent;
                let Some(parent) = self.node(number) else {
                    return entered;
                };
                node = parent;
                depth = depth.saturating_sub(1);
                start = levels.start_of(depth, start);
                if !was_plus && node.plus != NONE && !(dollar && depth == 0) {
                    let Some(level) = levels.get(depth, start) else {
                        return entered;
                    };
                    below = self.plus_of(node);
                    start = level.next;
                }
            };
            depth = depth.saturating_add(1);
        }
    }

    #[inline]
    fn plus_of(&self, node: &Node) -> Option<(u32, &Node)> {
        if node.plus == NONE {
            return None;
        }
        Some((node.plus, self.nodes.get(node.plus)?))
    }

    fn make_plus(&mut self, parent: u32) -> u32 {
        let known = self.node(parent).map_or(NONE, |node| node.plus);
        if known != NONE {
            return known;
        }
        let number = self.nodes.insert(Node::new(LevelText::Any, 0, parent));
        if let Some(node) = self.node_mut(parent) {
            node.plus = number;
        }
        number
    }

    fn make_literal<S: BuildHasher>(&mut self, hasher: &S, parent: u32, text: &str) -> u32 {
        let text_hash = hash_text(hasher, text);
        let known = self.find_literal(parent, text, text_hash);
        if known != NONE {
            return known;
        }
        let hash = edge_hash(parent, text_hash);
        let number = self.nodes.insert(Node::new(LevelText::new(text), hash, parent));
        let nodes = &self.nodes;
        add(&mut self.edges, spread(hash), number, |number| {
            rehash(nodes, number)
        });
        if let Some(node) = self.node_mut(parent) {
            node.literals = node.literals.saturating_add(1);
        }
        number
    }

    fn find_literal(&self, parent: u32, text: &str, text_hash: u64) -> u32 {
        self.edge(parent, text, text_hash)
            .map_or(NONE, |(number, _)| number)
    }

    /// The node that a literal level leads to.
    #[inline]
    fn edge(&self, parent: u32, text: &str, text_hash: u64) -> Option<(u32, &Node)> {
        let hash = edge_hash(parent, text_hash);
        let is_it = |number: &u32| {
            self.nodes.get(*number).is_some_and(|node| {
                node.hash == hash && node.parent == parent && node.text.is(text.as_bytes())
            })
        };
        let number = *self.edges.find(spread(hash), is_it)?;
        Some((number, self.nodes.get(number)?))
    }

    fn node(&self, number: u32) -> Option<&Node> {
        if number == ROOT {
            Some(&self.root)
        } else {
            self.nodes.get(number)
        }
    }

    fn node_mut(&mut self, number: u32) -> Option<&mut Node> {
        if number == ROOT {
            Some(&mut self.root)
        } else {
            self.nodes.get_mut(number)
        }
    }
}

impl Node {
    const fn new(text: LevelText, hash: u32, parent: u32) -> Node {
        Node {
            text,
            hash,
            parent,
            plus: NONE,
            here: NONE,
            multi: NONE,
            literals: 0,
        }
    }

    /// Whether no filter ends here or below.
    const fn is_bare(&self) -> bool {
        self.literals == 0 && self.plus == NONE && self.here == NONE && self.multi == NONE
    }
}

const FEW_LEVELS: usize = 16;
const MANY_LEVELS: usize = 256;

/// Hash of an edge. The text's is keyed by the caller, and the parent's number spread over all bits.
fn edge_hash(parent: u32, text_hash: u64) -> u32 {
    let mixed = text_hash ^ u64::from(parent).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    u32::try_from((mixed ^ (mixed >> 32)) & u64::from(u32::MAX)).unwrap_or(0)
}

/// The 64 bits that the table wants, from the 32 that a node keeps.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn rehash(nodes: &Slab<Node>, number: u32) -> u64 {
    nodes.get(number).map_or(0, |node| spread(node.hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_small() {
        assert_eq!(size_of::<Node>(), 40);
    }
}
