//! Many requests at once: sharing, fairness, room.

use freehold_dialects::canonical::TokenLogprob;
use freehold_domain::ErrorCode;
use freehold_inference::engine::{Engine, GenerateRequest, Generation, Token};

use super::support::{ask, collect, filler, request, shared, start};

#[test]
fn prefixes_are_found_under_the_same_salt_only() {
    let (engine, _turn) = shared();
    let prompt = filler(engine, 120);
    let before = engine.stats();
    let cached = |salt: &str, share: &str| {
        let mut request = request(salt, prompt.clone(), 2);
        request.share.key = share.into();
        ask(engine, request).usage.cached_tokens
    };
    assert_eq!(cached("prefix one", "anna"), 0);
    assert_eq!(cached("prefix one", "anna"), 119, "all but the last token, whose logits are wanted");
    assert_eq!(cached("prefix two", "anna"), 0, "another salt sees nothing, whoever asks");
    assert_eq!(cached("prefix one", "bert"), 119, "the salt decides, not the share");
    let after = engine.stats();
    assert_eq!(after.prefix_queries - before.prefix_queries, 480);
    assert_eq!(after.prefix_hits - before.prefix_hits, 238);
    assert!(after.cache_usage > 0.0 && after.cache_usage <= 1.0);
}

#[test]
fn a_foreign_salt_costs_as_much_as_no_cache_at_all() {
    // What a request costs is the tokens that are computed for it; a prompt that another salt has cached costs all.
    let (engine, _turn) = shared();
    let secret = filler(engine, 100);
    let steps = |salt: &str| {
        let before = engine.stats().steps;
        ask(engine, request(salt, secret.clone(), 3));
        engine.stats().steps - before
    };
    let unknown = steps("owner");
    assert_eq!(steps("spy"), unknown);
    assert_eq!(ask(engine, request("second spy", secret.clone(), 1)).usage.cached_tokens, 0);
}

#[test]
fn a_conversation_goes_on_where_it_was() {
    let (engine, _turn) = shared();
    let mut conversation = super::support::prompt(engine, "Name three fish.");
    let first = ask(engine, request("conversation", conversation.clone(), 20));
    conversation.extend(engine.tokenize(first.text(), false, false).expect("text"));
    let begun = u32::try_from(conversation.len()).expect("small");
    conversation.extend(engine.tokenize("<|im_end|>\n<|im_start|>user\nAnd three birds.", true, false).expect("text"));
    let second = ask(engine, request("conversation", conversation, 4));
    assert!(second.usage.cached_tokens + 3 >= begun, "{:?} of {begun}", second.usage);
}

#[test]
fn requests_wait_for_a_prefix_that_is_being_computed() {
    let engine = start(2048, 16, 64);
    let prefix = filler(&engine, 160);
    let mut generations: Vec<Generation> = Vec::new();
    for request_number in 0..8 {
        for tenant in 0..4 {
            let mut prompt = prefix.clone();
            prompt[0] = 1000 + tenant;
            prompt.extend([2000 + request_number, 2001]);
            generations.push(engine.generate(request(&format!("tenant {tenant}"), prompt, 2)).expect("accepted"));
        }
    }
    let cached = generations.into_iter().map(|generation| collect(generation).expect("answered").usage.cached_tokens);
    // The last few tokens of a prefix are computed rather than waited for.
    let shared = cached.filter(|&cached| (160 - 32..=160).contains(&cached)).count();
    assert_eq!(shared, 4 * 7, "each tenant's prefix is computed once");
}

#[test]
fn a_flood_does_not_hold_up_others() {
    let engine = start(2048, 4, 64);
    let flood: Vec<Generation> = (0..24)
        .map(|number| {
            let mut prompt = filler(&engine, 20);
            prompt[0] = 3000 + number;
            engine.generate(request("flood", prompt, 12)).expect("accepted")
        })
        .collect();
    let quiet = engine.generate(request("quiet", filler(&engine, 20), 3)).expect("accepted");
    collect(quiet).expect("answered");
    let open = flood.iter().filter(|generation| !generation.events.is_closed()).count();
    let finished = engine.stats().generation_tokens;
    assert!(finished < 24 * 12 / 2, "the quiet share was served after {finished} tokens of the flood, {open} open");
    for generation in flood {
        collect(generation).expect("answered");
    }
}

#[test]
fn a_full_queue_refuses_and_says_when_to_try_again() {
    let engine = start(512, 1, 2);
    let prompt = filler(&engine, 40);
    let long = |salt: &str| engine.generate(request(salt, prompt.clone(), 400));
    let first = long("a").expect("runs");
    let second = long("b").expect("waits");
    let third = long("c").expect("waits");
    let error = long("d").expect_err("full");
    assert_eq!(error.code, ErrorCode::RateLimited);
    assert!(error.retry_after_s.is_some_and(|seconds| (1..=60).contains(&seconds)));
    drop((first, third));
    collect(second).expect("its turn comes");
    super::support::wait_until("room in the queue", || long("d").is_ok());
}

#[test]
fn sequences_give_way_when_the_cache_is_small() {
    let engine = start(256, 6, 16);
    let generations: Vec<Generation> = (0..6)
        .map(|number| {
            let mut prompt = filler(&engine, 30);
            prompt[0] = 4000 + number;
            let mut request = request(&format!("share {}", number % 2), prompt, 60);
            request.sampling.logit_bias = vec![(2, -100.0), (0, -100.0)];
            engine.generate(request).expect("accepted")
        })
        .collect();
    for generation in generations {
        assert_eq!(collect(generation).expect("answered").usage.completion_tokens, 60);
    }
    assert!(engine.stats().preemptions > 0);
}

#[test]
fn dropping_the_engine_tells_everybody() {
    let engine = start(512, 2, 8);
    let generations: Vec<Generation> =
        (0..4).map(|number| engine.generate(request(&format!("{number}"), filler(&engine, 20), 450)).expect("accepted")).collect();
    drop(engine);
    for generation in generations {
        assert_eq!(collect(generation).expect_err("unloaded").code, ErrorCode::Unavailable);
    }
}

#[test]
fn a_cache_that_grows_and_copies_that_come_back_change_no_text() {
    let engine = start(8192, 4, 16);
    let prompts: Vec<_> = (0..3_u8)
        .map(|number| {
            let mut prompt = filler(&engine, 700);
            prompt.extend(super::support::prompt(&engine, &format!("Say the number {number} in words.")));
            prompt
        })
        .collect();
    // Together they need more than the cache starts with.
    let asked = |salt: &str, prompt: &[Token]| GenerateRequest { logprobs: Some(0), ..request(salt, prompt.to_vec(), 8) };
    let together: Vec<Generation> = prompts
        .iter()
        .enumerate()
        .map(|(number, prompt)| engine.generate(asked(&format!("salt {number}"), prompt)).expect("accepted"))
        .collect();
    let together: Vec<_> = together.into_iter().map(|generation| collect(generation).expect("answered")).collect();
    for (number, first) in together.iter().enumerate() {
        // The others have been computed since, so this one's prefix lies outside of the cache.
        let again = ask(&engine, asked(&format!("salt {number}"), &prompts[number]));
        assert_eq!(again.usage.cached_tokens as usize, prompts[number].len() - 1, "all but the last token came back");
        assert_alike(&again.logprobs, &first.logprobs);
    }
    let alone = ask(&start(1024, 1, 4), asked("alone", &prompts[0]));
    assert_alike(&alone.logprobs, &together[0].logprobs);
}

/// The same tokens with much the same probabilities, as far as a near tie has not led elsewhere: attention over one
/// token takes its sums in 16 bits, over many in 32. From other keys and values other tokens would come.
fn assert_alike(left: &[TokenLogprob], right: &[TokenLogprob]) {
    const BEFORE_ANY_TIE: usize = 4;
    for (left, right) in left.iter().zip(right).take(BEFORE_ANY_TIE) {
        assert_eq!(left.bytes, right.bytes);
        assert!((left.logprob - right.logprob).abs() < 0.5, "{left:?} {right:?}");
    }
}
