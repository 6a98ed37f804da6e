//! Choosing a token from logits.
//!
//! Order: logit bias, penalties, grammar mask, temperature, `min_p`, `top_k`, `top_p`, draw. Log-probabilities are
//! those of the model, before any of this. With temperature 0 the likeliest token is taken, the lowest number first
//! among equals.
//!
//! A seed decides all draws of an answer: the same logits and the same seed give the same text. Alone on an idle
//! engine that holds from run to run; in company the size of a batch can change the last bits of a logit, and so,
//! rarely, a token.
//!
//! **Invariant:** nothing is allocated for a token once the buffers have grown, except for reported alternatives.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use std::collections::HashMap;

use super::{SamplingParams, Token};

/// Buffers that all samplers of a thread share.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    logits: Vec<f32>,
    weights: Vec<f32>,
    candidates: Vec<Candidate>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    weight: f32,
    token: u32,
}

/// A token and the logarithm of its probability.
pub(crate) type Likely = (Token, f32);

/// Chooses the tokens of one answer.
#[derive(Debug)]
pub(crate) struct Sampler {
    params: SamplingParams,
    random: Pcg64Mcg,
    /// How often each token occurs in the answer.
    counts: HashMap<Token, u32>,
    /// Tokens of prompt and answer, each once.
    seen: Vec<Token>,
    seen_set: std::collections::HashSet<Token>,
}

/// What a grammar allows.
pub(crate) trait Mask {
    /// Whether the token may come next; cheap.
    fn allows(&mut self, token: Token) -> bool;
    /// Sets the logits of all other tokens to minus infinity.
    fn apply(&mut self, logits: &mut [f32]);
}

impl Sampler {
    /// A sampler for answer number `choice` to a prompt.
    pub fn new(params: &SamplingParams, choice: u32, prompt: &[Token]) -> Self {
        let mut sampler = Self {
            params: params.clone(),
            random: Pcg64Mcg::seed_from_u64(params.seed.wrapping_add(u64::from(choice))),
            counts: HashMap::new(),
            seen: Vec::new(),
            seen_set: std::collections::HashSet::new(),
        };
        if sampler.repeats() {
            for &token in prompt {
                sampler.see(token);
            }
        }
        sampler
    }

    fn repeats(&self) -> bool {
        (self.params.repetition_penalty - 1.0).abs() > f32::EPSILON
    }

    fn counts_tokens(&self) -> bool {
        self.params.presence_penalty != 0.0 || self.params.frequency_penalty != 0.0
    }

    fn see(&mut self, token: Token) {
        if self.seen_set.insert(token) {
            self.seen.push(token);
        }
    }

    /// Whether logits are used as the model gives them.
    fn plain(&self) -> bool {
        self.params.logit_bias.is_empty() && !self.repeats() && !self.counts_tokens()
    }

    /// Chooses the next token.
    pub fn sample(&mut self, logits: &[f32], mask: Option<&mut dyn Mask>, scratch: &mut Scratch) -> Token {
        let token = self.choose(logits, mask, scratch);
        if self.repeats() {
            self.see(token);
        }
        if self.counts_tokens() {
            *self.counts.entry(token).or_insert(0) += 1;
        }
        token
    }

    fn choose(&mut self, logits: &[f32], mask: Option<&mut dyn Mask>, scratch: &mut Scratch) -> Token {
        let greedy = self.params.temperature <= 0.0;
        if self.plain() && mask.is_none() {
            return if greedy { likeliest(logits) } else { self.draw(logits, scratch) };
        }
        let mut changed = std::mem::take(&mut scratch.logits);
        changed.clear();
        changed.extend_from_slice(logits);
        self.change(&mut changed);
        let token = match mask {
            None if greedy => likeliest(&changed),
            None => self.draw(&changed, scratch),
            Some(mask) => {
                // The likeliest token is usually allowed, which is cheaper to see than all that is allowed.
                let first = if greedy { Some(likeliest(&changed)) } else { None };
                match first.filter(|&token| mask.allows(token)) {
                    Some(token) => token,
                    None => {
                        mask.apply(&mut changed);
                        if greedy { likeliest(&changed) } else { self.draw(&changed, scratch) }
                    }
                }
            }
        };
        scratch.logits = changed;
        token
    }

    /// Bias and penalties.
    fn change(&self, logits: &mut [f32]) {
        let params = &self.params;
        let at = |token: Token| usize::try_from(token).unwrap_or(usize::MAX);
        for &token in &self.seen {
            if let Some(logit) = logits.get_mut(at(token)) {
                let penalty = params.repetition_penalty;
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
        for (&token, &count) in &self.counts {
            if let Some(logit) = logits.get_mut(at(token)) {
                #[expect(clippy::cast_precision_loss, reason = "an answer has fewer than 2^24 tokens")]
                let count = count as f32;
                *logit -= params.presence_penalty + params.frequency_penalty * count;
            }
        }
        for &(token, bias) in &params.logit_bias {
            if let Some(logit) = logits.get_mut(at(token)) {
                *logit += bias;
            }
        }
    }

    /// A number from 0 up to but not 1.
    fn uniform(&mut self) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
        let number = (self.random.next_u32() >> 8) as f32;
        number / 16_777_216.0
    }

    fn draw(&mut self, logits: &[f32], scratch: &mut Scratch) -> Token {
        let uniform = self.uniform();
        let params = &self.params;
        let highest = maximum(logits);
        if !highest.is_finite() {
            return likeliest(logits);
        }
        let weights = &mut scratch.weights;
        weights.resize(logits.len(), 0.0);
        let scale = 1.0 / params.temperature.max(1e-4);
        for (weight, &logit) in weights.iter_mut().zip(logits) {
            *weight = exponential((logit - highest) * scale);
        }
        let floor = if params.min_p > 0.0 { params.min_p.min(1.0) } else { 0.0 };
        let top_k = if params.top_k == 0 { usize::MAX } else { params.top_k as usize };
        if top_k >= weights.len() && params.top_p >= 1.0 {
            return draw_any(weights, floor, uniform);
        }
        let candidates = &mut scratch.candidates;
        gather(weights, candidates, floor, top_k, params.top_p);
        draw_candidate(candidates, uniform)
    }
}

/// Gathers, likeliest first, at least the tokens that `top_k` and `top_p` can keep. Afterwards each weight that was
/// left out is smaller than each that was taken.
fn gather(weights: &[f32], candidates: &mut Vec<Candidate>, floor: f32, top_k: usize, top_p: f32) {
    let mass: f32 = if top_k < weights.len() { 0.0 } else { sum(weights, floor) };
    let mut cut = 1.0 / 256.0_f32;
    loop {
        let last = cut <= floor || cut < 1e-12;
        let bound = if last { floor } else { cut };
        candidates.clear();
        let mut taken = 0.0;
        for (token, &weight) in (0_u32..).zip(weights) {
            if weight >= bound && weight > 0.0 {
                candidates.push(Candidate { weight, token });
                taken += weight;
            }
        }
        let enough = if top_k < weights.len() { candidates.len() >= top_k } else { taken >= top_p * mass };
        if last || enough {
            break;
        }
        cut /= 64.0;
    }
    candidates.sort_unstable_by(|left, right| right.weight.total_cmp(&left.weight).then(left.token.cmp(&right.token)));
    candidates.truncate(top_k);
    // With `top_k` the share of `top_p` is one of those that `top_k` keeps; without, of all.
    let mass = if top_k < weights.len() { candidates.iter().map(|candidate| candidate.weight).sum() } else { mass };
    let mut taken = 0.0;
    let kept = candidates.iter().position(|candidate| {
        taken += candidate.weight;
        taken >= top_p * mass
    });
    candidates.truncate(kept.map_or(usize::MAX, |last| last + 1).max(1));
}

fn draw_candidate(candidates: &[Candidate], uniform: f32) -> Token {
    let mass: f32 = candidates.iter().map(|candidate| candidate.weight).sum();
    let mut left = uniform * mass;
    let chosen = candidates.iter().find(|candidate| {
        left -= candidate.weight;
        left < 0.0
    });
    chosen.or(candidates.last()).map_or(0, |candidate| candidate.token.cast_signed())
}

/// Draws among all weights that are at least `floor`, without sorting them.
fn draw_any(weights: &[f32], floor: f32, uniform: f32) -> Token {
    const BLOCK: usize = 512;
    let mut left = uniform * sum(weights, floor);
    let mut last = 0;
    for (block, weights) in weights.chunks(BLOCK).enumerate() {
        let mass = sum(weights, floor);
        if left >= mass {
            left -= mass;
            continue;
        }
        for (index, &weight) in weights.iter().enumerate() {
            if weight >= floor && weight > 0.0 {
                left -= weight;
                last = block * BLOCK + index;
                if left < 0.0 {
                    return Token::try_from(last).unwrap_or(0);
                }
            }
        }
    }
    if last == 0 { likeliest(weights) } else { Token::try_from(last).unwrap_or(0) }
}

const LANES: usize = 16;

fn sum(weights: &[f32], floor: f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (blocks, rest) = weights.as_chunks::<LANES>();
    for block in blocks {
        for (sum, &weight) in sums.iter_mut().zip(block) {
            *sum += if weight >= floor { weight } else { 0.0 };
        }
    }
    sums.iter().sum::<f32>() + rest.iter().filter(|&&weight| weight >= floor).sum::<f32>()
}

fn maximum(logits: &[f32]) -> f32 {
    let mut highest = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = logits.as_chunks::<LANES>();
    for block in blocks {
        for (highest, &logit) in highest.iter_mut().zip(block) {
            *highest = if logit > *highest { logit } else { *highest };
        }
    }
    let all = highest.iter().chain(rest);
    all.fold(f32::NEG_INFINITY, |highest, &logit| if logit > highest { logit } else { highest })
}

/// The token with the highest logit, the lowest number first among equals.
pub(crate) fn likeliest(logits: &[f32]) -> Token {
    let highest = maximum(logits);
    let index = logits.iter().position(|&logit| logit == highest).unwrap_or(0);
    Token::try_from(index).unwrap_or(0)
}

/// `e^x` for x up to 0, to a few parts in a million; a plain loop over it becomes vector code.
#[inline]
#[expect(clippy::excessive_precision, reason = "coefficients as they are published")]
fn exponential(x: f32) -> f32 {
    let scaled = (x * std::f32::consts::LOG2_E).max(-126.0);
    let whole = scaled.round_ties_even();
    let part = scaled - whole;
    // 2^part between -1/2 and 1/2, minimax polynomial of degree 6 (the coefficients of Cephes' exp2f).
    let power = 1.535_336_188_319_500e-4_f32;
    let power = power.mul_add(part, 1.339_887_440_266_574e-3);
    let power = power.mul_add(part, 9.618_437_357_674_640e-3);
    let power = power.mul_add(part, 5.550_332_471_162_809e-2);
    let power = power.mul_add(part, 2.402_264_791_363_012e-1);
    let power = power.mul_add(part, 6.931_472_028_550_421e-1);
    let power = power.mul_add(part, 1.0);
    #[expect(clippy::cast_possible_truncation, reason = "between -126 and 0")]
    let exponent = (whole as i32 + 127) << 23;
    let value = power * f32::from_bits(exponent.cast_unsigned());
    if scaled > -126.0 { value } else { 0.0 }
}

/// The log-probability of a token, and the likeliest `top` tokens with theirs.
pub(crate) fn log_probabilities(logits: &[f32], token: Token, top: usize) -> (f32, Vec<Likely>) {
    let highest = maximum(logits);
    let mut sums = [0.0_f32; LANES];
    let (blocks, rest) = logits.as_chunks::<LANES>();
    for block in blocks {
        for (sum, &logit) in sums.iter_mut().zip(block) {
            *sum += exponential(logit - highest);
        }
    }
    let mass = sums.iter().sum::<f32>() + rest.iter().map(|&logit| exponential(logit - highest)).sum::<f32>();
    let base = highest + mass.ln();
    let own = usize::try_from(token).ok().and_then(|index| logits.get(index)).map_or(f32::NEG_INFINITY, |l| l - base);
    let mut best: Vec<Likely> = Vec::with_capacity(top + 1);
    if top > 0 {
        for (token, &logit) in (0_i32..).zip(logits) {
            if best.len() == top && best.last().is_some_and(|&(_, lowest)| logit <= lowest) {
                continue;
            }
            let place = best.partition_point(|&(_, other)| other >= logit);
            best.insert(place, (token, logit));
            best.truncate(top);
        }
    }
    for (_, logit) in &mut best {
        *logit -= base;
    }
    (own, best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> SamplingParams {
        SamplingParams {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            repetition_penalty: 1.0,
            seed: 7,
            logit_bias: Vec::new(),
        }
    }

    fn draws(params: &SamplingParams, logits: &[f32], count: usize) -> Vec<usize> {
        let mut sampler = Sampler::new(params, 0, &[]);
        let mut scratch = Scratch::default();
        let mut counts = vec![0; logits.len()];
        for _ in 0..count {
            let token = sampler.sample(logits, None, &mut scratch);
            counts[usize::try_from(token).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn exponential_is_close() {
        for step in 0..=8000 {
            let x = -(step as f32) / 100.0;
            let (mine, exact) = (f64::from(exponential(x)), f64::from(x).exp());
            assert!((mine - exact).abs() <= exact * 1e-5 + 1e-37, "{x}: {mine} against {exact}");
        }
        assert_eq!(exponential(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits: Vec<f32> = [0.5_f32, 0.25, 0.125, 0.125].iter().map(|p| p.ln()).collect();
        let near = |counts: &[usize], expect: &[f64]| {
            let all: usize = counts.iter().sum();
            for (&count, &expect) in counts.iter().zip(expect) {
                assert!((count as f64 / all as f64 - expect).abs() < 0.02, "{counts:?} against {expect}");
            }
        };
        near(&draws(&params(), &logits, 20_000), &[0.5, 0.25, 0.125, 0.125]);
        let cold = SamplingParams { temperature: 0.5, ..params() };
        near(&draws(&cold, &logits, 20_000), &[0.7272, 0.1818, 0.0454, 0.0454]);
        let top_k = SamplingParams { top_k: 2, ..params() };
        near(&draws(&top_k, &logits, 20_000), &[0.6667, 0.3333, 0.0, 0.0]);
        let top_p = SamplingParams { top_p: 0.7, ..params() };
        near(&draws(&top_p, &logits, 20_000), &[0.6667, 0.3333, 0.0, 0.0]);
        let min_p = SamplingParams { min_p: 0.4, ..params() };
        near(&draws(&min_p, &logits, 20_000), &[0.6667, 0.3333, 0.0, 0.0]);
        let both = SamplingParams { top_k: 3, top_p: 0.5, ..params() };
        near(&draws(&both, &logits, 20_000), &[1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn wide_and_narrow_searches_agree() {
        let logits: Vec<f32> = (0..4096_i32).map(|index| -((index * 7919) % 4096) as f32 / 64.0).collect();
        let wide = draws(&SamplingParams { top_p: 0.999_999, ..params() }, &logits, 2000);
        let narrow = draws(&SamplingParams { top_p: 0.5, ..params() }, &logits, 2000);
        assert!(wide.iter().filter(|&&count| count > 0).count() > narrow.iter().filter(|&&count| count > 0).count());
        assert!(narrow.iter().enumerate().filter(|(_, count)| **count > 0).all(|(index, _)| logits[index] > -1.0));
    }

    #[test]
    fn penalties_and_bias_change_the_choice() {
        let mut scratch = Scratch::default();
        let greedy = SamplingParams { temperature: 0.0, ..params() };
        let logits = [1.0, 2.0, 1.9, -1.0];
        let mut sampler = Sampler::new(&SamplingParams { presence_penalty: 0.5, ..greedy.clone() }, 0, &[1]);
        assert_eq!(sampler.sample(&logits, None, &mut scratch), 1, "the prompt does not count");
        assert_eq!(sampler.sample(&logits, None, &mut scratch), 2);
        let mut sampler = Sampler::new(&SamplingParams { repetition_penalty: 1.5, ..greedy.clone() }, 0, &[1]);
        assert_eq!(sampler.sample(&logits, None, &mut scratch), 2, "the prompt counts");
        let biased = SamplingParams { logit_bias: vec![(3, 100.0), (99, 5.0)], ..greedy };
        assert_eq!(Sampler::new(&biased, 0, &[]).sample(&logits, None, &mut scratch), 3);
    }

    #[test]
    fn log_probabilities_sum_to_one() {
        let logits: Vec<f32> = (0..100_u8).map(|index| f32::from(index % 13)).collect();
        let (_, all) = log_probabilities(&logits, 0, 100);
        let mass: f32 = all.iter().map(|(_, logprob)| logprob.exp()).sum();
        assert!((mass - 1.0).abs() < 1e-4);
        let (own, top) = log_probabilities(&logits, 12, 3);
        assert_eq!(top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [12, 25, 38]);
        assert_eq!(own, top[0].1);
    }
}
