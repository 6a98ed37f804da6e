// Puts Freehold's products with Q4_1 weights (src/engine/tiles.rs) before ggml's own on the CPU.
//
// ggml asks the "extra buffer types" of its CPU backend, in order, which of them wants a weight. Those of this file want
// Q4_1 matrices of whole tiles, keep them as tiles, and compute with them. Everything else goes where it went before.
// Compiled against the very sources that llama.cpp is built from, so the layouts of ggml's classes are its own.

#include "ggml-backend-impl.h"
#include "ggml-cpu.h"
#include "ggml-cpu-impl.h"
#include "traits.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

extern "C" {
// Written in Rust; what they take and promise is said there.
void freehold_tiles_pack(const void * rows, void * tiles, size_t row_count, size_t blocks);
void freehold_tiles_quantize(const float * numbers, void * blocks, size_t count);
void freehold_tiles_multiply(const void * tiles, size_t tile_count, size_t blocks, const void * columns, size_t column_count, float * out, size_t out_stride);

void freehold_tiles_register(void);
}

namespace {

constexpr int64_t TILE_ROWS = 8;
constexpr int64_t BLOCK_NUMBERS = 32;
// 32 rounded numbers, their scale and their sum.
constexpr size_t BLOCK_BYTES = 40;
constexpr size_t ALIGNMENT_BYTES = 64;
// Pieces that each thread takes of a product, so that one that is held up leaves the rest to the other.
constexpr int64_t PIECES_PER_THREAD = 4;

bool wants(const ggml_tensor * weights) {
    return weights->type == GGML_TYPE_Q4_1 && ggml_n_dims(weights) == 2 && weights->ne[0] % BLOCK_NUMBERS == 0 &&
           weights->ne[1] % TILE_ROWS == 0;
}

class Product : public ggml::cpu::tensor_traits {
    bool work_size(int, const ggml_tensor * op, size_t & size) override {
        size = ggml_nelements(op->src[1]) / BLOCK_NUMBERS * BLOCK_BYTES;
        return true;
    }

    bool compute_forward(ggml_compute_params * params, ggml_tensor * op) override {
        const ggml_tensor * weights = op->src[0];
        const ggml_tensor * input = op->src[1];
        GGML_ASSERT(input->type == GGML_TYPE_F32 && input->nb[0] == sizeof(float) && op->nb[0] == sizeof(float));
        const int64_t blocks = weights->ne[0] / BLOCK_NUMBERS;
        uint8_t * columns = static_cast<uint8_t *>(params->wdata);
        quantize(params, input, columns, blocks);
        if (params->ith == 0) {
            ggml_threadpool_chunk_set(params->threadpool, params->nth);
        }
        ggml_barrier(params->threadpool);

        const int64_t tiles = weights->ne[1] / TILE_ROWS;
        const int64_t piece_tiles = std::max<int64_t>(1, tiles / (params->nth * PIECES_PER_THREAD));
        const size_t tile_bytes = blocks * TILE_ROWS * ggml_type_size(GGML_TYPE_Q4_1);
        for (int64_t first = params->ith * piece_tiles; first < tiles;
             first = piece_tiles * ggml_threadpool_chunk_add(params->threadpool, 1)) {
            const size_t count = std::min(piece_tiles, tiles - first);
            const uint8_t * start = static_cast<const uint8_t *>(weights->data) + first * tile_bytes;
            for (int64_t plane = 0; plane < op->ne[2] * op->ne[3]; plane++) {
                uint8_t * out = static_cast<uint8_t *>(op->data) + plane % op->ne[2] * op->nb[2] + plane / op->ne[2] * op->nb[3];
                freehold_tiles_multiply(start, count, blocks, columns + plane * op->ne[1] * blocks * BLOCK_BYTES, op->ne[1],
                                        reinterpret_cast<float *>(out) + first * TILE_ROWS, op->nb[1] / sizeof(float));
            }
        }
        return true;
    }

    // Each thread takes an equal share of all blocks.
    static void quantize(const ggml_compute_params * params, const ggml_tensor * input, uint8_t * columns, int64_t blocks) {
        const int64_t all = ggml_nrows(input) * blocks;
        const int64_t end = all * (params->ith + 1) / params->nth;
        for (int64_t index = all * params->ith / params->nth; index < end;) {
            const int64_t column = index / blocks;
            const int64_t block = index % blocks;
            const int64_t count = std::min(blocks - block, end - index);
            const int64_t row = column % input->ne[1];
            const int64_t plane = column / input->ne[1];
            const uint8_t * from = static_cast<const uint8_t *>(input->data) + row * input->nb[1] +
                                   plane % input->ne[2] * input->nb[2] + plane / input->ne[2] * input->nb[3];
            freehold_tiles_quantize(reinterpret_cast<const float *>(from) + block * BLOCK_NUMBERS, columns + index * BLOCK_BYTES, count);
            index += count;
        }
    }
};

Product product;

ggml_backend_buffer_type_t buffer_type();

class Tiles : public ggml::cpu::extra_buffer_type {
    bool supports_op(ggml_backend_dev_t, const ggml_tensor * op) override {
        if (op->op != GGML_OP_MUL_MAT || !get_tensor_traits(op) || !wants(op->src[0])) {
            return false;
        }
        const ggml_tensor * input = op->src[1];
        return input->type == GGML_TYPE_F32 && (!input->buffer || ggml_backend_buft_is_host(input->buffer->buft));
    }

    ggml::cpu::tensor_traits * get_tensor_traits(const ggml_tensor * op) override {
        const bool is_ours = op->op == GGML_OP_MUL_MAT && op->src[0]->buffer && op->src[0]->buffer->buft == buffer_type();
        return is_ours ? &product : nullptr;
    }
};

void set_tensor(ggml_backend_buffer_t, ggml_tensor * tensor, const void * data, size_t offset, size_t size) {
    GGML_ASSERT(offset == 0 && size == ggml_nbytes(tensor) && wants(tensor));
    freehold_tiles_pack(data, tensor->data, tensor->ne[1], tensor->ne[0] / BLOCK_NUMBERS);
}

ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t type, size_t size) {
    ggml_backend_buffer_t buffer = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), size);
    if (buffer) {
        buffer->buft = type;
        buffer->iface.set_tensor = set_tensor;
        buffer->iface.get_tensor = nullptr;
        buffer->iface.cpy_tensor = nullptr;
    }
    return buffer;
}

const char * name(ggml_backend_buffer_type_t) {
    return "CPU_TILES";
}

size_t alignment(ggml_backend_buffer_type_t) {
    return ALIGNMENT_BYTES;
}

ggml_backend_buffer_type_t buffer_type() {
    static ggml_backend_buffer_type type = [] {
        ggml_backend_buffer_type made = {};
        made.iface.get_name = name;
        made.iface.alloc_buffer = alloc_buffer;
        made.iface.get_alignment = alignment;
        made.device = ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0);
        made.context = new Tiles();
        return made;
    }();
    return &type;
}

}  // namespace

// Once, before the first model is loaded: ggml copies the list then.
void freehold_tiles_register(void) {
    ggml_backend_cpu_get_extra_buffer_types().push_back(buffer_type());
}
