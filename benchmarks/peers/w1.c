/* W1: open M/M/c. One binary heap of events, one ring of waiting arrivals, xoshiro256+.
   What a straightforward compiled event loop costs; no tricks beyond that. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct { uint64_t s[4]; } rng_t;
typedef struct { double t; int64_t kind; } event_t;
enum { ARRIVAL, DONE };

static inline uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

static inline uint64_t next(rng_t *r) {
    uint64_t *s = r->s, t = s[1] << 17, out = s[0] + s[3];
    s[2] ^= s[0]; s[3] ^= s[1]; s[1] ^= s[2]; s[0] ^= s[3]; s[2] ^= t; s[3] = rotl(s[3], 45);
    return out;
}

static void seed(rng_t *r, uint64_t x) { /* splitmix64 */
    for (int i = 0; i < 4; i++) {
        x += 0x9e3779b97f4a7c15ULL;
        uint64_t z = x;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        r->s[i] = z ^ (z >> 31);
    }
}

static inline double expo(rng_t *r, double mean) {
    return -mean * log(((next(r) >> 11) + 1) * (1.0 / 9007199254740993.0));
}

static inline void push(event_t *h, int64_t *n, double t, int64_t kind) {
    int64_t i = (*n)++;
    while (i > 0) {
        int64_t p = (i - 1) >> 1;
        if (h[p].t <= t) break;
        h[i] = h[p];
        i = p;
    }
    h[i].t = t;
    h[i].kind = kind;
}

static inline event_t pop(event_t *h, int64_t *n) {
    event_t top = h[0], e = h[--(*n)];
    int64_t i = 0, m = *n;
    for (;;) {
        int64_t c = 2 * i + 1;
        if (c >= m) break;
        if (c + 1 < m && h[c + 1].t < h[c].t) c++;
        if (e.t <= h[c].t) break;
        h[i] = h[c];
        i = c;
    }
    h[i] = e;
    return top;
}

/* out: started requests, sum of waits in seconds. Returns 0, or 1 when the queue outgrew its ring. */
int w1_run(uint64_t s, int64_t servers, double service_s, double rate, double end, double *out) {
    const int64_t ring = 1 << 20, mask = ring - 1;
    rng_t r;
    seed(&r, s);
    event_t *h = malloc(sizeof(event_t) * (servers + 8));
    double *queue = malloc(sizeof(double) * ring);
    int64_t n_events = 0, head = 0, tail = 0, busy = 0, n = 0;
    int full = 0;
    double wait_s = 0.0;
    push(h, &n_events, expo(&r, 1.0 / rate), ARRIVAL);
    while (h[0].t <= end && !full) {
        event_t e = pop(h, &n_events);
        if (e.kind == ARRIVAL) {
            if (busy < servers) {
                busy++;
                n++;
                push(h, &n_events, e.t + expo(&r, service_s), DONE);
            } else {
                full = tail - head == ring;
                queue[tail++ & mask] = e.t;
            }
            push(h, &n_events, e.t + expo(&r, 1.0 / rate), ARRIVAL);
        } else if (tail > head) {
            wait_s += e.t - queue[head++ & mask];
            n++;
            push(h, &n_events, e.t + expo(&r, service_s), DONE);
        } else {
            busy--;
        }
    }
    free(h);
    free(queue);
    out[0] = (double)n;
    out[1] = wait_s;
    return full;
}
