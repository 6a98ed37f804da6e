//! The order of moves.

use std::collections::BTreeSet;
use std::sync::Arc;

use freehold_estate::catalogue::Catalogue;
use freehold_estate::contracts::Contract;
use freehold_estate::finding::audit;
use freehold_estate::plan::Volume;
use freehold_estate::plan::order::places;
use freehold_estate::plan::{plan, to_html, to_markdown};
use freehold_estate::resource::{Estate, Provider, Resource};
use proptest::prelude::*;
use time::macros::date;

use crate::report::resource;

fn edges(pairs: &[(usize, usize)], count: usize) -> Vec<BTreeSet<usize>> {
    let mut depends_on = vec![BTreeSet::new(); count];
    for (from, to) in pairs {
        depends_on[*from].insert(*to);
    }
    depends_on
}

#[test]
fn what_is_depended_on_moves_first() {
    let places = places(&edges(&[(0, 1), (1, 2)], 4));
    let waves: Vec<usize> = places.iter().map(|place| place.wave).collect();
    assert_eq!(waves, [2, 1, 0, 0]);
}

#[test]
fn a_cycle_moves_together() {
    let places = places(&edges(&[(0, 1), (1, 0), (2, 0), (0, 3)], 4));
    assert_eq!((places[0].wave, places[1].wave, places[2].wave, places[3].wave), (1, 1, 2, 0));
    assert_eq!((places[0].together.clone(), places[1].together.clone()), (vec![1], vec![0]));
}

#[test]
fn volumes_are_read() {
    let check = |text: &str, expect: Option<(Option<&str>, u64)>| {
        let found = text.parse::<Volume>().ok().map(|volume| (volume.provider, volume.gb));
        assert_eq!(found, expect.map(|(provider, gb)| (provider.map(str::to_owned), gb)), "{text}");
    };
    check("5000", Some((None, 5_000)));
    check("AWS=12", Some((Some("aws"), 12)));
    for bad in ["", "x", "ibm=5", "-1", "aws=", "5e3"] {
        check(bad, None);
    }
}

#[test]
fn what_contracts_share_is_said_once_and_what_is_unknown_is_not_zero() {
    let bucket = Resource { file: Arc::from("a.tf"), ..resource("a.tf", 1, "aws_s3_bucket.a", "aws_s3_bucket", Provider::Aws) };
    let estate = Estate { files: 1, resources: vec![bucket], ..Estate::default() };
    let found = audit(&estate, Catalogue::builtin(), date!(2026 - 11 - 23));
    let contract = |id: &str, end| Contract::new(id.to_owned(), "aws".to_owned(), date!(2026 - 01 - 01), end);
    let contracts = [contract("one", date!(2028 - 01 - 01)), contract("two", date!(2029 - 01 - 01))];
    let made = plan(&found, &[], &contracts).expect("the data is sound");
    for text in [to_markdown(&made), to_html(&made)] {
        assert_eq!(text.matches("The transitional period ends").count(), 1, "{text}");
        assert!(text.contains("Every contract") && text.contains("2028-01-01") && text.contains("2029-01-01"), "{text}");
        assert!(text.contains("not known") && !text.contains("0 GB"), "{text}");
    }
    let made = plan(&found, &[], &contracts[..1]).expect("the data is sound");
    assert!(!to_markdown(&made).contains("Every contract"));
}

proptest! {
    #[test]
    fn every_node_comes_after_its_dependencies(pairs in proptest::collection::vec((0_usize..12, 0_usize..12), 0..40)) {
        let depends_on = edges(&pairs, 12);
        let places = places(&depends_on);
        for (node, targets) in depends_on.iter().enumerate() {
            for target in targets.iter().filter(|target| **target != node) {
                let together = places[node].together.contains(target);
                prop_assert_eq!(together, places[*target].together.contains(&node));
                let (own, before) = (places[node].wave, places[*target].wave);
                let in_order = if together { own == before } else { own > before };
                prop_assert!(in_order, "{} after {}", node, target);
            }
        }
    }
}
