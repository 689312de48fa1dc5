/* W2: balancer, application, database; timeouts and retries. One binary heap of events, a pool of
   attempts, one ring per queue, xoshiro256+. What a straightforward compiled event loop costs. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct { uint64_t s[4]; } rng_t;
typedef struct { double t; int64_t what; } event_t; /* what = kind + 8 * attempt (or number) */
enum { ARRIVE, AT_APP, APP_DONE, DB_DONE, TIMEOUT, RETRY, RESIZE };
#define EVENT(kind, x) ((int64_t)(kind) + ((int64_t)(x) << 3))
#define SLOTS ((int64_t)1 << 20) /* attempts that may be alive at once */
#define MASK (SLOTS - 1)

typedef struct {
    double rate, end, balancer_s, app_s, db_s, timeout_s, backoff_s, cut_from_s, cut_to_s;
    int64_t app_slots, db_slots, retries, cut_slots;
} params_t;

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

static event_t *h;
static int64_t n_events;

static inline void push(double t, int64_t what) {
    int64_t i = n_events++;
    while (i > 0) {
        int64_t p = (i - 1) >> 1;
        if (h[p].t <= t) break;
        h[i] = h[p];
        i = p;
    }
    h[i].t = t;
    h[i].what = what;
}

static inline event_t pop(void) {
    event_t top = h[0], e = h[--n_events];
    int64_t i = 0, m = n_events;
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

/* goodput: answers in time by second; out: first tries, attempts, failed first tries.
   Returns 0, or 1 when more attempts were alive than there is room for. */
int w2_run(uint64_t s, const params_t *p, int64_t *goodput, int64_t *out) {
    rng_t r;
    seed(&r, s);
    h = malloc(2 * SLOTS * sizeof(event_t)); /* two events an attempt at most */
    n_events = 0;
    int64_t *app_q = malloc(8 * SLOTS), *db_q = malloc(8 * SLOTS), *unused = malloc(8 * SLOTS);
    uint8_t *settled = calloc(SLOTS, 1);
    int8_t *try = calloc(SLOTS, 1), *events_left = calloc(SLOTS, 1);
    int64_t app_head = 0, app_tail = 0, db_head = 0, db_tail = 0, n_unused = SLOTS - 8;
    int64_t first = 0, attempts = 0, failed = 0, in_app = 0, in_db = 0, slots = p->app_slots;
    for (int64_t i = 0; i < SLOTS; i++) unused[i] = SLOTS - 1 - i;
    push(expo(&r, 1.0 / p->rate), EVENT(ARRIVE, 0));
    push(p->cut_from_s, EVENT(RESIZE, p->cut_slots));
    push(p->cut_to_s, EVENT(RESIZE, p->app_slots));
    while (h[0].t <= p->end && n_unused > 0) {
        event_t e = pop();
        double t = e.t;
        int kind = e.what & 7;
        int64_t a = e.what >> 3;
        switch (kind) {
        case ARRIVE:
        case RETRY: {
            attempts++;
            int64_t i = unused[--n_unused];
            settled[i] = 0;
            events_left[i] = 2; /* its timeout, and its way through the system */
            try[i] = kind == RETRY ? a : 0;
            if (kind == ARRIVE) {
                first++;
                push(t + expo(&r, 1.0 / p->rate), EVENT(ARRIVE, 0));
            }
            push(t + p->balancer_s, EVENT(AT_APP, i));
            push(t + p->timeout_s, EVENT(TIMEOUT, i));
            break;
        }
        case AT_APP:
            if (in_app < slots) {
                in_app++;
                push(t + expo(&r, p->app_s), EVENT(APP_DONE, a));
            } else {
                app_q[app_tail++ & MASK] = a;
            }
            break;
        case APP_DONE:
            if (app_tail != app_head && in_app <= slots)
                push(t + expo(&r, p->app_s), EVENT(APP_DONE, app_q[app_head++ & MASK]));
            else
                in_app--;
            if (in_db < p->db_slots) {
                in_db++;
                push(t + expo(&r, p->db_s), EVENT(DB_DONE, a));
            } else {
                db_q[db_tail++ & MASK] = a;
            }
            break;
        case DB_DONE:
            if (db_tail != db_head)
                push(t + expo(&r, p->db_s), EVENT(DB_DONE, db_q[db_head++ & MASK]));
            else
                in_db--;
            if (!settled[a]) {
                settled[a] = 1;
                goodput[(int64_t)t]++;
            }
            if (--events_left[a] == 0) unused[n_unused++] = a;
            break;
        case TIMEOUT:
            if (!settled[a]) {
                settled[a] = 1;
                if (try[a] < p->retries)
                    push(t + p->backoff_s * (1 << try[a]), EVENT(RETRY, try[a] + 1));
                else
                    failed++;
            }
            if (--events_left[a] == 0) unused[n_unused++] = a;
            break;
        default: /* RESIZE */
            slots = a;
            while (app_tail != app_head && in_app < slots) {
                in_app++;
                push(t + expo(&r, p->app_s), EVENT(APP_DONE, app_q[app_head++ & MASK]));
            }
        }
    }
    int full = n_unused <= 0;
    free(h); free(app_q); free(db_q); free(unused); free(settled); free(try); free(events_left);
    out[0] = first;
    out[1] = attempts;
    out[2] = failed;
    return full;
}
