/* Experts on a processor: the gate's choice, the experts' products in float32 or 8 bits, the mix.

   Weights come packed in panels of 32 columns, so that one read of a weight serves every row that chose its expert and no
   sum runs across a register. Only experts that were chosen are read. Activations are rounded once a token for the first
   product, once a pair for the second. A row that is not finite answers NaN throughout.

   Rows are worked on in groups of up to ROWS, laid side by side depth by depth ("woven"), which is what a register holds. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512VNNI__
#include <immintrin.h>
#endif

#define PANEL 32
#define LANES 16
#define ROWS 12
#define BLOCK 96 /* rows of one expert that share a pass over its weights */
#define ZERO_POINT 128

typedef float floats __attribute__((vector_size(64), aligned(64)));
typedef int32_t ints __attribute__((vector_size(64), aligned(64)));

enum { SILU, RELU, GELU_TANH, SWIGLU };

typedef struct {
    int32_t experts, width, hidden, activation, eight_bits;
    const void *up, *down;             /* (E, panels, depth, 32) float32, or (E, panels, depth / 4, 32, 4) uint8 */
    const float *up_steps, *down_steps; /* (E, columns padded to panels); 8 bits only */
} Bank;

typedef struct {
    int32_t k_min, k_max;
    float mass;
    const float *keys, *bias; /* (panels, width, 32) unit keys times the scale; (E,) */
} Gate;

static int padded(int n, int to) { return (n + to - 1) / to * to; }

/* ---- one panel times a group of woven rows --------------------------------------------------------------------------- */

/* The panel after this one is on its way while this one is worked on: two lines a step, as much as a step reads. */
static inline void fetch(const char *next, int step)
{
    if (!next) return;
    __builtin_prefetch(next + (size_t)step * 128, 0, 2);
    __builtin_prefetch(next + (size_t)step * 128 + 64, 0, 2);
}

static inline __attribute__((always_inline)) void floats_of(
    const int rows, const float *panel, const float *woven, int depth, const char *next, float *out, int stride)
{
    floats sums[ROWS][2];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = (floats){0};
    for (int k = 0; k < depth; k++) {
        const floats *w = (const floats *)(panel + (size_t)k * PANEL);
        floats a = w[0], b = w[1];
        fetch(next, k);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            float x = woven[(size_t)k * rows + r];
            sums[r][0] += a * x;
            sums[r][1] += b * x;
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) memcpy(out + (size_t)r * stride, sums[r], sizeof sums[r]);
}

static inline ints dot_bytes(ints sum, const uint8_t *weights, int32_t four)
{
#ifdef __AVX512VNNI__
    return (ints)_mm512_dpbusd_epi32((__m512i)sum, _mm512_load_si512(weights), _mm512_set1_epi32(four));
#else
    int8_t x[4];
    memcpy(x, &four, 4);
    for (int lane = 0; lane < LANES; lane++)
        for (int j = 0; j < 4; j++) sum[lane] += weights[4 * lane + j] * x[j];
    return sum;
#endif
}

static inline __attribute__((always_inline)) void bytes_of(
    const int rows, const uint8_t *panel, const int32_t *woven, int depth, const char *next, const int32_t *totals,
    const float *row_steps, const float *steps, float *out, int stride)
{
    ints sums[ROWS][2];
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = (ints){0} - ZERO_POINT * totals[r];
    for (int k = 0; k < depth; k++) {
        const uint8_t *w = panel + (size_t)k * PANEL * 4;
        fetch(next, k);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            int32_t x = woven[(size_t)k * rows + r];
            sums[r][0] = dot_bytes(sums[r][0], w, x);
            sums[r][1] = dot_bytes(sums[r][1], w + 4 * LANES, x);
        }
    }
    const floats *s = (const floats *)steps;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        floats found[2];
        for (int half = 0; half < 2; half++)
            found[half] = __builtin_convertvector(sums[r][half], floats) * s[half] * row_steps[r];
        memcpy(out + (size_t)r * stride, found, sizeof found);
    }
}

#define EACH(DO) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11) DO(12)

static void float_tile(int rows, const float *panel, const float *woven, int depth, const char *next, float *out, int stride)
{
    switch (rows) {
#define CASE(R) case R: floats_of(R, panel, woven, depth, next, out, stride); break;
        EACH(CASE)
#undef CASE
    }
}

static void byte_tile(int rows, const uint8_t *panel, const int32_t *woven, int depth, const char *next,
                      const int32_t *totals, const float *row_steps, const float *steps, float *out, int stride)
{
    switch (rows) {
#define CASE(R) case R: bytes_of(R, panel, woven, depth, next, totals, row_steps, steps, out, stride); break;
        EACH(CASE)
#undef CASE
    }
}

/* ---- rows: woven, rounded, activated --------------------------------------------------------------------------------- */

static int group_of(int rows) { int groups = (rows + ROWS - 1) / ROWS; return groups ? (rows + groups - 1) / groups : 1; }

/* rows x depth words of 32 bits, group after group: (depth, rows of the group). */
static void weave(const int32_t *const *rows, int count, int depth, int32_t *woven)
{
    int group = group_of(count);
    for (int first = 0; first < count; first += group) {
        int n = count - first < group ? count - first : group;
        int32_t *to = woven + (size_t)first * depth;
        for (int r = 0; r < n; r++) {
            const int32_t *from = rows[first + r];
            for (int k = 0; k < depth; k++) to[(size_t)k * n + r] = from[k];
        }
    }
}

/* Signed bytes with one step a row: values (depth), zero up to whole words; gives the sum of the bytes. */
static int32_t round_row(const float *x, int depth, int8_t *low, float *step)
{
    float most = 1e-12f * 127;
    int32_t total = 0;
#pragma omp simd reduction(max : most)
    for (int k = 0; k < depth; k++) { float size = fabsf(x[k]); most = size > most ? size : most; }
    *step = most / 127;
    float scale = 127 / most;
#pragma omp simd reduction(+ : total)
    for (int k = 0; k < depth; k++) {
        int32_t value = (int32_t)rintf(x[k] * scale);
        low[k] = (int8_t)value;
        total += value;
    }
    return total;
}

static inline float exponential(float x)
{
    float t = x * 1.44269504f;
    t = t < -126 ? -126 : t;
    t = t > 126 ? 126 : t;
    float whole = rintf(t);
    float r = t - whole;
    float p = 1.5403530e-4f;
    p = p * r + 1.3333558e-3f;
    p = p * r + 9.6181291e-3f;
    p = p * r + 5.5504109e-2f;
    p = p * r + 2.4022651e-1f;
    p = p * r + 6.9314718e-1f;
    p = p * r + 1.0f;
    union { int32_t bits; float value; } power = {((int32_t)whole + 127) << 23};
    return p * power.value;
}

static void activate(float *x, int n, int kind)
{
    switch (kind) {
    case RELU:
#pragma omp simd
        for (int i = 0; i < n; i++) x[i] = x[i] < 0 ? 0 : x[i];
        break;
    case GELU_TANH:
#pragma omp simd
        for (int i = 0; i < n; i++) x[i] = x[i] / (1 + exponential(-1.5957691f * (x[i] + 0.044715f * x[i] * x[i] * x[i])));
        break;
    case SWIGLU:
#pragma omp simd
        for (int i = 0; i < n / 2; i++) x[i] = x[i] / (1 + exponential(-x[i])) * x[n / 2 + i];
        break;
    default:
#pragma omp simd
        for (int i = 0; i < n; i++) x[i] = x[i] / (1 + exponential(-x[i]));
    }
}

/* ---- the layer ------------------------------------------------------------------------------------------------------- */

typedef struct { int32_t expert, token; float mix; } Pair;

/* All products of `count` rows (at most BLOCK) with one matrix: out (count, padded columns). */
static void products(const Bank *bank, int second, int expert, const int32_t *woven, int count, const int32_t *totals,
                     const float *row_steps, float *out)
{
    int columns = second ? bank->width : bank->hidden * (bank->activation == SWIGLU ? 2 : 1);
    int depth = second ? bank->hidden : bank->width, stride = padded(columns, PANEL), group = group_of(count);
    int words = bank->eight_bits ? padded(depth, 4) / 4 : depth;
    const float *weights = (const float *)(second ? bank->down : bank->up) + (size_t)expert * stride * words;
    const float *steps = second ? bank->down_steps : bank->up_steps;
    for (int column = 0; column < stride; column += PANEL) {
        const float *panel = weights + (size_t)column * words; /* a word of four bytes is as wide as a float */
        for (int first = 0; first < count; first += group) {
            int n = count - first < group ? count - first : group;
            const int32_t *rows = woven + (size_t)first * words;
            const char *next = first ? NULL : (const char *)(panel + (size_t)PANEL * words);
            float *to = out + (size_t)first * stride + column;
            if (bank->eight_bits)
                byte_tile(n, (const uint8_t *)panel, rows, words, next, totals + first, row_steps + first,
                          steps + (size_t)expert * stride + column, to, stride);
            else
                float_tile(n, panel, (const float *)rows, words, next, to, stride);
        }
    }
}

typedef struct {
    int32_t *woven, *totals;
    int8_t *low;       /* (tokens, width in whole words): the input rounded once */
    float *steps;
    int32_t *inner_totals;
    float *inner_steps, *inner, *outer;
    int8_t *inner_low;
} Room;

static void block(const Bank *bank, const Room *room, const float *x, const Pair *pairs, int count, float *y)
{
    const int32_t *rows[BLOCK];
    int32_t totals[BLOCK];
    float steps[BLOCK];
    int wide = padded(bank->width, 4), deep = padded(bank->hidden, 4);
    int columns = bank->hidden * (bank->activation == SWIGLU ? 2 : 1);
    int inner_stride = padded(columns, PANEL), outer_stride = padded(bank->width, PANEL);
    for (int i = 0; i < count; i++) {
        int token = pairs[i].token;
        rows[i] = bank->eight_bits ? (const int32_t *)(room->low + (size_t)token * wide)
                                   : (const int32_t *)(x + (size_t)token * bank->width);
        if (bank->eight_bits) totals[i] = room->totals[token], steps[i] = room->steps[token];
    }
    weave(rows, count, bank->eight_bits ? wide / 4 : bank->width, room->woven);
    products(bank, 0, pairs->expert, room->woven, count, totals, steps, room->inner);
    for (int i = 0; i < count; i++) {
        float *inner = room->inner + (size_t)i * inner_stride;
        activate(inner, columns, bank->activation);
        rows[i] = (const int32_t *)inner;
        if (bank->eight_bits) {
            int8_t *low = room->inner_low + (size_t)i * deep;
            totals[i] = round_row(inner, bank->hidden, low, &steps[i]);
            rows[i] = (const int32_t *)low;
        }
    }
    weave(rows, count, bank->eight_bits ? deep / 4 : bank->hidden, room->woven);
    products(bank, 1, pairs->expert, room->woven, count, totals, steps, room->outer);
    for (int i = 0; i < count; i++) {
        float mix = pairs[i].mix, *to = y + (size_t)pairs[i].token * bank->width;
        const float *outer = room->outer + (size_t)i * outer_stride;
#pragma omp simd
        for (int c = 0; c < bank->width; c++) to[c] += mix * outer[c];
    }
}

/* Pairs of weight not zero, by expert: a counting sort. Gives their number. */
static int by_expert(const float *weights, const int64_t *experts, int tokens, int k, int count, int32_t *ends, Pair *pairs)
{
    memset(ends, 0, (count + 1) * sizeof *ends);
    for (int i = 0; i < tokens * k; i++) if (weights[i] != 0) ends[experts[i] + 1]++;
    for (int e = 0; e < count; e++) ends[e + 1] += ends[e];
    int found = ends[count];
    for (int i = 0; i < tokens * k; i++)
        if (weights[i] != 0) pairs[ends[experts[i]]++] = (Pair){(int32_t)experts[i], i / k, weights[i]};
    return found;
}

static void *take(uint8_t **at, size_t bytes) { void *here = *at; *at += (bytes + 63) / 64 * 64; return here; }

/* x (T, D), weights (T, K), experts (T, K) -> y (T, D). 0, or -1 where memory is lacking, -2 for an expert that isn't there. */
int experts_mix(const Bank *bank, const float *x, const float *weights, const int64_t *experts, int32_t tokens, int32_t k,
                float *y)
{
    for (int i = 0; i < tokens * k; i++) if (experts[i] < 0 || experts[i] >= bank->experts) return -2;
    int columns = bank->hidden * (bank->activation == SWIGLU ? 2 : 1);
    int wide = padded(bank->width, 4), deep = padded(bank->hidden, 4);
    int widest = bank->width > bank->hidden ? bank->width : bank->hidden;
    size_t sizes[] = {(size_t)tokens * k * sizeof(Pair), (bank->experts + 1) * 4ul, (size_t)tokens * wide, tokens * 4ul,
                      tokens * 4ul, BLOCK * 4ul * padded(widest, 4), BLOCK * 4ul * padded(columns, PANEL),
                      BLOCK * 4ul * padded(bank->width, PANEL), (size_t)BLOCK * deep};
    size_t all = 64;
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) all += (sizes[i] + 63) / 64 * 64;
    uint8_t *memory = aligned_alloc(64, (all + 63) / 64 * 64), *at = memory;
    if (!memory) return -1;
    Pair *pairs = take(&at, sizes[0]);
    int32_t *ends = take(&at, sizes[1]);
    Room room = {.low = take(&at, sizes[2]), .totals = take(&at, sizes[3]), .steps = take(&at, sizes[4])};
    room.woven = take(&at, sizes[5]), room.inner = take(&at, sizes[6]), room.outer = take(&at, sizes[7]);
    room.inner_low = take(&at, sizes[8]);
    memset(room.inner_low, 0, sizes[8]);
    int count = by_expert(weights, experts, tokens, k, bank->experts, ends, pairs);
    for (int t = 0; t < tokens; t++) {
        float spoilt = 0;
        const float *row = x + (size_t)t * bank->width;
#pragma omp simd reduction(+ : spoilt)
        for (int c = 0; c < bank->width; c++) spoilt += row[c] * 0;
        for (int c = 0; c < bank->width; c++) y[(size_t)t * bank->width + c] = spoilt;
        if (bank->eight_bits) {
            int8_t *low = room.low + (size_t)t * wide;
            memset(low + bank->width, 0, wide - bank->width);
            room.totals[t] = round_row(row, bank->width, low, &room.steps[t]);
        }
    }
    for (int first = 0; first < count;) {
        int n = 1;
        while (n < BLOCK && first + n < count && pairs[first + n].expert == pairs[first].expert) n++;
        block(bank, &room, x, pairs + first, n, y);
        first += n;
    }
    free(memory);
    return 0;
}

/* A cosine gate: x (T, D) -> weights (T, k_max), zero where a token uses fewer, experts (T, k_max). 0, or -1 as above. */
int gate_choose(const Gate *gate, int32_t experts, int32_t width, const float *x, int32_t tokens, float *weights, int64_t *chosen)
{
    int stride = padded(experts, PANEL), k_max = gate->k_max;
    float *memory = aligned_alloc(64, (size_t)padded(ROWS * (stride + width) * 4, 64));
    if (!memory) return -1;
    float *logits = memory, *woven = memory + ROWS * stride;
    for (int first = 0; first < tokens; first += ROWS) {
        int n = tokens - first < ROWS ? tokens - first : ROWS;
        const int32_t *rows[ROWS];
        for (int r = 0; r < n; r++) rows[r] = (const int32_t *)(x + (size_t)(first + r) * width);
        weave(rows, n, width, (int32_t *)woven);
        for (int column = 0; column < stride; column += PANEL)
            float_tile(n, gate->keys + (size_t)column * width, woven, width, NULL, logits + column, stride);
        for (int r = 0; r < n; r++) {
            float size = 0, most = -INFINITY, total = 0, *row = logits + (size_t)r * stride;
            const float *from = x + (size_t)(first + r) * width;
#pragma omp simd reduction(+ : size)
            for (int c = 0; c < width; c++) size += from[c] * from[c];
            float unit = size > 1e-24f ? 1 / sqrtf(size) : size == size ? 0 : size;
#pragma omp simd reduction(max : most)
            for (int e = 0; e < experts; e++) { row[e] *= unit; most = row[e] > most ? row[e] : most; }
#pragma omp simd reduction(+ : total)
            for (int e = 0; e < experts; e++) { row[e] = exponential(row[e] - most); total += row[e]; }
            float *own = weights + (size_t)(first + r) * k_max, mass = 0, kept = 0;
            int64_t *who = chosen + (size_t)(first + r) * k_max;
            float best[64];
            for (int j = 0; j < k_max; j++) best[j] = -INFINITY, who[j] = 0;
            for (int e = 0; e < experts; e++) {
                float score = row[e] / total + gate->bias[e];
                if (!(score > best[k_max - 1])) continue;
                int j = k_max - 1;
                for (; j > 0 && score > best[j - 1]; j--) best[j] = best[j - 1], who[j] = who[j - 1];
                best[j] = score, who[j] = e;
            }
            for (int j = 0; j < k_max; j++) {
                float share = row[who[j]] / total;
                own[j] = j < gate->k_min || mass < gate->mass ? share : 0;
                mass += share, kept += own[j];
            }
            for (int j = 0; j < k_max; j++) own[j] /= kept > 1e-20f ? kept : 1e-20f;
        }
    }
    free(memory);
    return 0;
}
