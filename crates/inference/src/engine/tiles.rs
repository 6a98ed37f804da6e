//! Products with weights in Q4_1, the format of many small models, for which llama.cpp has no fast kernel on x86.
//!
//! llama.cpp goes over Q4_1 row by row and unpacks each row again for every token of a batch. Here eight rows lie side
//! by side in a tile, one in each lane of a vector: what is unpacked serves eight tokens, and nothing is added across
//! lanes. The numbers are the file's own, to the last bit; a tile only orders them differently.
//!
//! A block of 32 weights of a row is `scale * q + minimum` with q from 0 to 15. The other side is rounded to 8 bits in
//! blocks of 32, as llama.cpp does, with scale and sum as 32-bit floats. `native/tiles.cpp` calls the three functions.
//!
//! **Invariant:** a row's product with a token is the same number whatever else is in the batch.

#![expect(unsafe_code, reason = "called from C++ with pointers, and written with the processor's own instructions")]

use std::arch::x86_64::*;

/// Rows of a tile.
const ROWS: usize = 8;

/// Numbers of a block.
const NUMBERS: usize = 32;

/// Tokens that one unpacking serves: as many as there are registers for.
const TOKENS: usize = if cfg!(target_feature = "avx512vl") { 8 } else { 4 };

/// A block of Q4_1 as it lies in the file: 16-bit floats, then weights `i` and `i + 16` in byte `i`.
#[repr(C)]
#[derive(Clone, Copy)]
struct FileBlock {
    scale: u16,
    minimum: u16,
    weights: [u8; NUMBERS / 2],
}

/// The same block of eight rows.
#[repr(C, align(32))]
#[derive(Clone, Copy)]
struct Tile {
    scales: [u16; ROWS],
    minima: [u16; ROWS],
    /// Four bytes of each row, then the next four of each row.
    weights: [[[u8; 4]; ROWS]; 4],
}

/// 32 numbers of a token, rounded: each is `scale` times its quant.
#[repr(C)]
#[derive(Clone, Copy)]
struct Block {
    scale: f32,
    /// `scale` times the sum of the quants.
    sum: f32,
    quants: [[i8; 4]; NUMBERS / 4],
}

unsafe extern "C" {
    fn freehold_tiles_register();
}

/// Makes llama.cpp use these kernels. To be called once, before a model is loaded.
pub(super) fn register() {
    // SAFETY: called once, from `backend`, before anything else of llama.cpp is used.
    unsafe { freehold_tiles_register() };
}

/// Puts `row_count` rows of `blocks` blocks each into tiles.
///
/// # Safety
/// `rows` holds so many blocks of Q4_1, `tiles` has room for as many bytes and is aligned for a [`Tile`]; they do not
/// overlap, and `row_count` is a multiple of 8.
#[unsafe(no_mangle)]
unsafe extern "C" fn freehold_tiles_pack(rows: *const FileBlock, tiles: *mut Tile, row_count: usize, blocks: usize) {
    for group in 0..row_count / ROWS {
        for block in 0..blocks {
            // SAFETY: as the caller promises; this is built only for processors with these instructions.
            unsafe { tiles.add(group * blocks + block).write(pack(rows.add(group * ROWS * blocks + block), blocks)) };
        }
    }
}

/// A block of eight rows that lie `stride` blocks apart.
///
/// # Safety
/// The blocks can be read.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn pack(blocks: *const FileBlock, stride: usize) -> Tile {
    // SAFETY: a block has 20 bytes; 16 are read from its beginning or from its fifth byte on.
    let four = |row: usize, offset: usize| unsafe { _mm_loadu_si128(blocks.add(row * stride).byte_add(offset).cast()) };
    let pair = |row, offset| _mm256_set_m128i(four(row + 4, offset), four(row, offset));
    // Rows of four 32-bit words become columns; a word is scale and minimum, or eight weights.
    let [a, b, c, d] = [0, 1, 2, 3].map(|row| pair(row, 0));
    let (low, high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
    let (factors, first) = (_mm256_unpacklo_epi64(low, high), _mm256_unpackhi_epi64(low, high));
    let (low, high) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
    let (second, third) = (_mm256_unpacklo_epi64(low, high), _mm256_unpackhi_epi64(low, high));
    let [a, b, c, d] = [0, 1, 2, 3].map(|row| pair(row, size_of::<[u16; 2]>()));
    let fourth = _mm256_unpackhi_epi64(_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
    let scales = _mm256_and_si256(factors, _mm256_set1_epi32(0xffff));
    let minima = _mm256_srli_epi32::<16>(factors);
    // Packing works within halves of a vector; the permutation brings them back into order.
    let factors = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(scales, minima));
    let mut tile = Tile { scales: [0; ROWS], minima: [0; ROWS], weights: [[[0; 4]; ROWS]; 4] };
    // SAFETY: scales and minima lie side by side in an aligned tile and have 32 bytes, as each part of the weights.
    unsafe {
        _mm256_store_si256((&raw mut tile).cast(), factors);
        for (part, words) in tile.weights.iter_mut().zip([first, second, third, fourth]) {
            _mm256_store_si256((&raw mut *part).cast(), words);
        }
    }
    tile
}

/// Rounds `count` blocks of numbers.
///
/// # Safety
/// `numbers` holds 32 times `count` floats, `blocks` has room for as many blocks.
#[unsafe(no_mangle)]
unsafe extern "C" fn freehold_tiles_quantize(numbers: *const f32, blocks: *mut Block, count: usize) {
    for index in 0..count {
        // SAFETY: as the caller promises; this is built only for processors with these instructions.
        unsafe { blocks.add(index).write(quantize(numbers.add(index * NUMBERS))) };
    }
}

/// # Safety
/// 32 floats can be read.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn quantize(numbers: *const f32) -> Block {
    let mut parts = [_mm256_setzero_ps(); 4];
    let mut highest = _mm256_setzero_ps();
    for (index, part) in parts.iter_mut().enumerate() {
        // SAFETY: as the caller promises.
        *part = unsafe { _mm256_loadu_ps(numbers.add(index * 8)) };
        highest = _mm256_max_ps(highest, _mm256_andnot_ps(_mm256_set1_ps(-0.0), *part));
    }
    let highest = _mm_max_ps(_mm256_castps256_ps128(highest), _mm256_extractf128_ps::<1>(highest));
    let highest = _mm_max_ps(highest, _mm_movehl_ps(highest, highest));
    let highest = _mm_cvtss_f32(_mm_max_ss(highest, _mm_movehdup_ps(highest)));
    let scale = highest / 127.0;
    let factor = _mm256_set1_ps(if scale > 0.0 { 1.0 / scale } else { 0.0 });
    let [a, b, c, d] = parts.map(|part| _mm256_cvtps_epi32(_mm256_mul_ps(part, factor)));
    let sum = _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
    let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let sum = _mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum));
    let sum = _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<1>(sum)));
    // Packing works within halves of a vector; the permutation brings the fours back into order.
    let packed = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    let ordered = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    #[expect(clippy::cast_precision_loss, reason = "32 numbers of 8 bits")]
    let mut block = Block { scale, sum: scale * sum as f32, quants: [[0; 4]; NUMBERS / 4] };
    // SAFETY: the array has 32 bytes.
    unsafe { _mm256_storeu_si256((&raw mut block.quants).cast(), ordered) };
    block
}

/// Multiplies `tile_count` groups of eight rows with `column_count` tokens: row `r` and token `c` give
/// `out[c * out_stride + r]`.
///
/// # Safety
/// A row and a token have `blocks` blocks each, `out` has room for every product, and nothing else uses that room.
#[unsafe(no_mangle)]
unsafe extern "C" fn freehold_tiles_multiply(
    tiles: *const Tile,
    tile_count: usize,
    blocks: usize,
    columns: *const Block,
    column_count: usize,
    out: *mut f32,
    out_stride: usize,
) {
    for group in 0..tile_count {
        // SAFETY: as the caller promises; this is built only for processors with these instructions.
        unsafe {
            let tiles = std::slice::from_raw_parts(tiles.add(group * blocks), blocks);
            let out = out.add(group * ROWS);
            let mut column = 0;
            while column < column_count {
                let (tokens, out) = (columns.add(column * blocks), out.add(column * out_stride));
                column += match column_count - column {
                    left if left >= TOKENS => multiply::<TOKENS>(tiles, tokens, out, out_stride),
                    left if left >= 4 => multiply::<4>(tiles, tokens, out, out_stride),
                    3 => multiply::<3>(tiles, tokens, out, out_stride),
                    2 => multiply::<2>(tiles, tokens, out, out_stride),
                    _ => multiply::<1>(tiles, tokens, out, out_stride),
                };
            }
        }
    }
}

/// Eight rows with `COUNT` tokens; gives `COUNT`.
///
/// # Safety
/// As [`freehold_tiles_multiply`].
#[target_feature(enable = "avx2,fma,f16c")]
#[cfg_attr(target_feature = "avx512vnni", target_feature(enable = "avx512vnni,avx512vl"))]
unsafe fn multiply<const COUNT: usize>(tiles: &[Tile], tokens: *const Block, out: *mut f32, out_stride: usize) -> usize {
    let mut sums = [_mm256_setzero_ps(); COUNT];
    for (index, tile) in tiles.iter().enumerate() {
        // SAFETY: the arrays of a tile have these sizes, and a tile is aligned.
        let (scales, minima, packed) = unsafe {
            let weights = (&raw const tile.weights).cast::<__m256i>();
            (
                _mm256_cvtph_ps(_mm_load_si128((&raw const tile.scales).cast())),
                _mm256_cvtph_ps(_mm_load_si128((&raw const tile.minima).cast())),
                [0, 1, 2, 3].map(|part| _mm256_load_si256(weights.add(part))),
            )
        };
        let nibble = _mm256_set1_epi8(15);
        let low = packed.map(|bytes| _mm256_and_si256(bytes, nibble));
        let high = packed.map(|bytes| _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), nibble));
        for (column, sum) in sums.iter_mut().enumerate() {
            // SAFETY: as the caller promises.
            let block = unsafe { &*tokens.add(column * tiles.len() + index) };
            let mut first = _mm256_setzero_si256();
            let mut second = _mm256_setzero_si256();
            for part in 0..4 {
                first = dot(first, low[part], _mm256_set1_epi32(i32::from_ne_bytes(block.quants[part].map(i8::cast_unsigned))));
                second = dot(second, high[part], _mm256_set1_epi32(i32::from_ne_bytes(block.quants[part + 4].map(i8::cast_unsigned))));
            }
            let whole = _mm256_cvtepi32_ps(_mm256_add_epi32(first, second));
            *sum = _mm256_fmadd_ps(whole, _mm256_mul_ps(scales, _mm256_set1_ps(block.scale)), *sum);
            *sum = _mm256_fmadd_ps(minima, _mm256_set1_ps(block.sum), *sum);
        }
    }
    for (column, sum) in sums.into_iter().enumerate() {
        // SAFETY: as the caller promises.
        unsafe { _mm256_storeu_ps(out.add(column * out_stride), sum) };
    }
    COUNT
}

/// Adds to each 32-bit lane the products of its four unsigned bytes with four signed ones.
#[inline]
#[target_feature(enable = "avx2")]
#[cfg_attr(target_feature = "avx512vnni", target_feature(enable = "avx512vnni,avx512vl"))]
fn dot(sum: __m256i, weights: __m256i, quants: __m256i) -> __m256i {
    #[cfg(target_feature = "avx512vnni")]
    {
        _mm256_dpbusd_epi32(sum, weights, quants)
    }
    #[cfg(not(target_feature = "avx512vnni"))]
    {
        // Two products of at most 15 * 127 fit into 16 bits.
        _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(weights, quants), _mm256_set1_epi16(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from -1 to 1 that look random.
    fn noise(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    fn rows(count: usize, blocks: usize) -> Vec<FileBlock> {
        let halves = [0x3c00_u16, 0xb800, 0x2e66, 0x0001, 0x4200, 0xa000]; // 1, -0.5, 0.1, the smallest, 3, -0.0078
        let block = |index: usize| FileBlock {
            scale: halves[index % halves.len()],
            minimum: halves[(index * 7 + 3) % halves.len()],
            weights: std::array::from_fn(|byte| (index * 31 + byte * 17 + index * byte) as u8),
        };
        (0..count * blocks).map(block).collect()
    }

    fn half(bits: u16) -> f64 {
        let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023) / 1024.0);
        let value = if exponent == 0 { mantissa * 2_f64.powi(-14) } else { (1.0 + mantissa) * 2_f64.powi(exponent - 15) };
        if bits >> 15 == 1 { -value } else { value }
    }

    fn quantized(numbers: &[f32]) -> Vec<Block> {
        let mut blocks = Vec::with_capacity(numbers.len() / NUMBERS);
        unsafe {
            freehold_tiles_quantize(numbers.as_ptr(), blocks.as_mut_ptr(), numbers.len() / NUMBERS);
            blocks.set_len(numbers.len() / NUMBERS);
        }
        blocks
    }

    fn products(rows: &[FileBlock], row_count: usize, blocks: usize, columns: &[Block]) -> Vec<f32> {
        let mut tiles = Vec::<Tile>::with_capacity(rows.len() / ROWS);
        let column_count = columns.len() / blocks;
        let mut out = vec![f32::NAN; column_count * row_count];
        unsafe {
            freehold_tiles_pack(rows.as_ptr(), tiles.as_mut_ptr(), row_count, blocks);
            tiles.set_len(rows.len() / ROWS);
            freehold_tiles_multiply(tiles.as_ptr(), row_count / ROWS, blocks, columns.as_ptr(), column_count, out.as_mut_ptr(), row_count);
        }
        out
    }

    #[test]
    fn layouts_are_as_ggml_and_the_door_count_them() {
        assert_eq!(size_of::<FileBlock>(), 20);
        assert_eq!(size_of::<Tile>(), ROWS * size_of::<FileBlock>());
        assert_eq!(size_of::<Block>(), 40);
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        let numbers = noise(NUMBERS * 5, 3);
        for (block, numbers) in quantized(&numbers).iter().zip(numbers.chunks(NUMBERS)) {
            let highest = numbers.iter().fold(0.0_f32, |highest, number| highest.max(number.abs()));
            assert_eq!(block.scale, highest / 127.0);
            let mut sum = 0;
            for (&quant, &number) in block.quants.as_flattened().iter().zip(numbers) {
                assert!((f32::from(quant) * block.scale - number).abs() <= block.scale * 0.5001, "{quant} for {number}");
                sum += i32::from(quant);
            }
            assert!((block.sum - sum as f32 * block.scale).abs() < 1e-6);
        }
        let zero = quantized(&[0.0; NUMBERS]);
        assert_eq!((zero[0].scale, zero[0].sum, zero[0].quants), (0.0, 0.0, [[0; 4]; 8]));
    }

    #[test]
    fn products_are_those_of_the_written_numbers() {
        for (row_count, blocks, column_count) in [(8, 1, 1), (16, 3, 5), (24, 18, 17), (64, 48, 8)] {
            let rows = rows(row_count, blocks);
            let columns = quantized(&noise(column_count * blocks * NUMBERS, 9));
            let out = products(&rows, row_count, blocks, &columns);
            for (index, &product) in out.iter().enumerate() {
                let (column, row) = (index / row_count, index % row_count);
                let (mut exact, mut size) = (0.0, 0.0);
                for block in 0..blocks {
                    let (weights, numbers) = (&rows[row * blocks + block], &columns[column * blocks + block]);
                    for (place, &quant) in numbers.quants.as_flattened().iter().enumerate() {
                        let weight = weights.weights[place % 16] >> (place / 16 * 4) & 15;
                        let weight = half(weights.scale) * f64::from(weight) + half(weights.minimum);
                        let term = weight * f64::from(quant) * f64::from(numbers.scale);
                        exact += term;
                        size += term.abs();
                    }
                }
                assert!((f64::from(product) - exact).abs() <= size * 1e-5, "{row_count}x{blocks}: {product} for {exact}");
            }
        }
    }

    #[test]
    fn company_changes_nothing() {
        let (row_count, blocks) = (16, 18);
        let rows = rows(row_count, blocks);
        let columns = quantized(&noise(23 * blocks * NUMBERS, 4));
        let alone: Vec<f32> = columns.chunks(blocks).flat_map(|column| products(&rows, row_count, blocks, column)).collect();
        for count in [2, 3, 4, 7, 8, 9, 15, 23] {
            assert_eq!(products(&rows, row_count, blocks, &columns[..count * blocks]), alone[..count * row_count]);
        }
    }
}
