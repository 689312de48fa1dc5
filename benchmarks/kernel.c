/* The fine-step loop of simulator/flow/kernel.py in C, on the same arrays: the yardstick of
   benchmarks/kernel.py. The structs are generated from the dtypes of simulator/flow/layout.py
   (layout.h). No noise, no sleep, no samples: what a step costs when all pools are awake. */
#include "layout.h"
#include <math.h>

enum { REQUIRED, OPTIONAL, ASYNCHRONOUS, CLIENT, CONTROL };
enum { ZOMBIE, CANCEL, DEADLINE_AWARE };
enum { NO_BUDGET, PER_FIRST_TRY, PER_SUCCESS };
#define TINY 1e-9
#define CERTAIN 16.0
#define HYSTERESIS 0.1
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

static ctl_t *ctl;
static pool_t *pools;
static edge_t *edges;
static att_t *atts;
static const int64_t *in_edge, *out_edge;
static double *waiting, *late, *dead, *line;
/* Waiting and late amounts of a column lie side by side. */
#define AT(i) (2 * (i))
static int64_t *cross, cross_max, n_edges;

static void back_later(edge_t *a, int64_t k, double amount, int64_t steps) {
  pool_t *P = pools + a->callee;
  int64_t n = a->n_line, r = a->retries, now = P->count;
  int64_t base = (int64_t)nearbyint(atts[a->att + k].backoff / P->h);
  atts[a->att + k + 1].pending += amount;
  if (a->jitter) {
    int64_t ahead = MIN(steps, n - 3), width = MIN(MAX(1, base), n - 2 - ahead);
    int64_t first = (now + MAX(1, ahead)) % n, last = (now + MAX(1, ahead) + width) % n;
    line[a->line + first * r + k] += amount / width;
    line[a->line + last * r + k] -= amount / width;
  } else {
    line[a->line + (now + MIN(n - 1, steps + base)) % n * r + k] += amount;
  }
}

static void fail(edge_t *a, int64_t k, double amount, double age, int64_t steps) {
  att_t *t = atts + a->att + k;
  double again = 0.0, lost;
  if (k < a->retries) {
    again = amount;
    if (a->budget > 0) {
      again = MIN(again, a->tokens);
      a->tokens -= again;
    }
  }
  if (again > 0.0) {
    t[1].again += again;
    t[1].again_age += again * (t->elapsed + age + t->backoff * (a->jitter ? 0.5 : 1.0));
    back_later(a, k, again, steps);
  }
  lost = amount - again;
  if (lost > 0.0) {
    a->x_failed += lost;
    a->x_latency += lost * (t->elapsed + age);
  }
}

static double expire(pool_t *P) {
  double total = 0.0;
  for (int64_t i = P->in0; i < P->in1; i++) {
    edge_t *a = edges + in_edge[i];
    int64_t age = a->n_age, slot = P->head - age, base;
    if (slot < 0) slot += P->n_slot;
    base = P->ring + slot * P->n_col + a->col;
    for (int64_t k = 0; k <= a->retries; k++) {
      double w = waiting[AT(base + k)], gone = w + late[AT(base + k)];
      if (gone == 0.0) continue;
      waiting[AT(base + k)] = late[AT(base + k)] = 0.0;
      if (w > 0.0) {
        if (P->late == ZOMBIE) dead[P->dead + slot] += w;
        else P->q -= w;
      }
      P->in_ring -= gone;
      total += gone;
      fail(a, k, gone, age * P->h, 0);
    }
  }
  if (P->in_ring < TINY) P->in_ring = 0.0;
  return total;
}

static double step_budget(pool_t *P) {
  double p_down = 1.0, hold = 0.0, blocked = 0.0, done = 0.0, eff;
  for (int64_t i = P->out0; i < P->out1; i++) {
    edge_t *a = edges + out_edge[i];
    if (a->kind == ASYNCHRONOUS) continue;
    hold += a->calls * a->latency;
    blocked += a->held;
    done += a->done_r;
    if (a->kind == REQUIRED && a->p_ok < 1.0)
      p_down *= a->calls <= 1.0 ? 1.0 - a->calls * (1.0 - a->p_ok) : pow(a->p_ok, a->calls);
  }
  P->p_down = p_down;
  P->hold = hold;
  eff = MIN(P->rate, P->workers / (P->s + hold));
  if (blocked > 0.0) {
    double room = ((P->workers - blocked) / P->h + done) / MAX(1.0, P->sync_calls);
    eff = MIN(eff, MAX(0.0, room));
  }
  P->eff = eff;
  return eff * P->h;
}

static double arrive(pool_t *P, double budget, double *rejected) {
  int64_t tick = ctl->tick, base = P->ring + P->head * P->n_col;
  double total = 0.0, accept = 1.0, room;
  for (int64_t i = P->in0; i < P->in1; i++) {
    edge_t *a = edges + in_edge[i];
    double first = a->issued + a->rate * (tick - a->issued_tick) * ctl->tick_s + a->work;
    int64_t slot = a->line + P->count % a->n_line * a->retries;
    a->work = a->issued = 0.0;
    a->issued_tick = tick;
    a->first += first;
    a->in_flight += first;
    if (a->budget == PER_FIRST_TRY) a->tokens = MIN(a->bucket, a->tokens + a->ratio * first);
    if (a->admit < 1.0) {
      a->x_failed += first * (1.0 - a->admit);
      first *= a->admit;
    }
    waiting[AT(base + a->col)] = first;
    total += first;
    for (int64_t k = 0; k < a->retries; k++) {
      att_t *t = atts + a->att + k + 1;
      double x = line[slot + k];
      line[slot + k] = 0.0;
      if (a->jitter) {
        t->flow += x;
        x = MIN(MAX(t->flow, 0.0), t->pending);
      }
      if (x > 0.0) {
        t->pending -= x;
        if (t->pending < 0.0) t->pending = 0.0;
      }
      waiting[AT(base + a->col + k + 1)] = x;
      total += x;
    }
  }
  room = MAX(0.0, P->room_max - P->q) + budget;
  if (total > room) accept = room / total;
  P->accept = accept;
  for (int64_t i = P->in0; i < P->in1; i++) {
    edge_t *a = edges + in_edge[i];
    for (int64_t k = 0; k <= a->retries; k++) {
      double *w = waiting + AT(base + a->col + k), x = *w, no;
      if (x <= 0.0) continue;
      a->attempts += x;
      if (accept < 1.0) {
        no = x * (1.0 - accept);
        *w = x - no;
        *rejected += no;
        fail(a, k, no, 0.0, 1);
      }
    }
  }
  P->q += total * accept;
  P->in_ring += total * accept;
  return total;
}

static double serve_slot(pool_t *P, int64_t slot, double age_s, double frac, double *alive) {
  int64_t base = P->ring + slot * P->n_col;
  double answered = 0.0, timeout = -1.0, took = age_s + P->s + P->hold, in_time = 0.0;
  for (int64_t i = P->in0; i < P->in1; i++) {
    edge_t *a = edges + in_edge[i];
    if (a->timeout != timeout) {
      double slack = a->timeout - age_s - P->hold;
      timeout = a->timeout;
      if (slack <= 0.0) in_time = 0.0;
      else if (P->deterministic) in_time = slack >= P->s ? 1.0 : 0.0;
      else if (slack > CERTAIN * P->s) in_time = 1.0;
      else in_time = -expm1(-slack / P->s);
    }
    for (int64_t k = 0; k <= a->retries; k++) {
      att_t *t = atts + a->att + k;
      double w = waiting[AT(base + a->col + k)], x, good, ok;
      if (w == 0.0) continue;
      x = frac >= 1.0 ? w : w * frac;
      waiting[AT(base + a->col + k)] = w - x;
      *alive += x;
      good = x * in_time;
      ok = good * P->p_down;
      late[AT(base + a->col + k)] += x - good;
      a->x_ok += ok;
      a->x_latency += ok * (t->elapsed + took);
      if (good > ok) {
        t->x_err += good - ok;
        t->x_err_age += (good - ok) * took;
      }
      answered += good;
    }
  }
  P->in_ring -= answered;
  return answered * P->p_down;
}

static void discard(pool_t *P, int64_t slot, double age_s) {
  int64_t base = P->ring + slot * P->n_col;
  for (int64_t i = P->in0; i < P->in1; i++) {
    edge_t *a = edges + in_edge[i];
    if (a->timeout - age_s >= P->s + P->hold) continue;
    for (int64_t k = 0; k <= a->retries; k++) {
      double *w = waiting + AT(base + a->col + k);
      if (*w > 0.0) {
        P->q -= *w;
        late[AT(base + a->col + k)] += *w;
        *w = 0.0;
      }
    }
  }
}

static double serve(pool_t *P, double budget, double *ok) {
  int64_t n = P->n_slot, oldest = MIN(P->oldest + 1, n - 1), age = P->lifo ? 0 : oldest;
  double left = budget, served = 0.0, wasted = 0.0; /* summed apart, as in the kernel */
  if (!P->lifo && P->d_old > 0.0) {
    double x = MIN(left, P->d_old);
    P->d_old -= x;
    P->q -= x;
    left -= x;
    wasted += x;
  }
  while (left > TINY && P->q > TINY && age >= 0 && age <= oldest) {
    int64_t slot = P->head - age, base;
    double total;
    if (slot < 0) slot += n;
    base = P->ring + slot * P->n_col;
    if (P->late == DEADLINE_AWARE) discard(P, slot, age * P->h);
    total = dead[P->dead + slot];
    for (int64_t c = base; c < base + P->n_col; c++) total += waiting[AT(c)];
    if (total > 0.0) {
      double frac = MIN(1.0, left / total), alive = 0.0, gone;
      *ok += serve_slot(P, slot, age * P->h, frac, &alive);
      gone = dead[P->dead + slot] * frac;
      dead[P->dead + slot] -= gone;
      served += alive;
      wasted += gone;
      left -= alive + gone;
      P->q -= alive + gone;
      if (frac < 1.0) break;
    }
    if (P->lifo) age++;
    else {
      age--;
      oldest = MAX(age, 0);
    }
  }
  if (P->lifo && left > TINY && P->d_old > 0.0) {
    double x = MIN(left, P->d_old);
    P->d_old -= x;
    P->q -= x;
    wasted += x;
  }
  P->oldest = oldest;
  if (P->q <= TINY) {
    P->oldest = 0;
    if (P->in_ring <= TINY) P->q = 0.0;
  }
  return served + wasted;
}

static double settle(pool_t *P) {
  int64_t delay = MAX(1, (int64_t)nearbyint((P->s + P->hold) / P->h));
  double errors = 0.0;
  for (int64_t i = P->in0; i < P->in1; i++) {
    edge_t *a = edges + in_edge[i];
    double ok, failed, done;
    for (int64_t k = 0; k <= a->retries; k++) {
      att_t *t = atts + a->att + k;
      if (t->x_err > 0.0) {
        errors += t->x_err;
        fail(a, k, t->x_err, t->x_err_age / t->x_err, delay);
        t->x_err = t->x_err_age = 0.0;
      }
    }
    for (int64_t k = 1; k <= a->retries; k++) {
      att_t *t = atts + a->att + k;
      if (t->again > TINY) t->elapsed = t->again_age / t->again;
      t->again = t->again_age = 0.0;
    }
    ok = a->x_ok, failed = a->x_failed, done = ok + failed;
    if (a->budget == PER_SUCCESS) a->tokens = MIN(a->bucket, a->tokens + a->ratio * ok);
    a->ok += ok;
    a->failed += failed;
    a->in_flight -= done;
    if (a->in_flight < TINY) a->in_flight = 0.0;
    a->done_new = done / P->h;
    if (done > TINY) {
      a->p_new = ok / done;
      a->latency_new = a->x_latency / done;
      a->latency_sum += a->x_latency;
      a->p_avg += P->forget * (a->p_new - a->p_avg);
      a->latency_avg += P->forget * (a->latency_new - a->latency_avg);
      a->share += P->smooth * (a->p_new - a->share);
    }
    a->x_ok = a->x_failed = a->x_latency = 0.0;
  }
  return errors;
}

static void step(pool_t *P) {
  double old, expired = 0.0, budget, rejected = 0.0, offered, ok = 0.0, served = 0.0, bad;
  P->head = P->head + 1 == P->n_slot ? 0 : P->head + 1;
  P->count += 1;
  old = dead[P->dead + P->head];
  if (old > 0.0) {
    dead[P->dead + P->head] = 0.0;
    P->d_old += old;
  }
  if (P->in_ring > 0.0) expired = expire(P);
  budget = step_budget(P);
  offered = arrive(P, budget, &rejected);
  if (P->q > 0.0) served = serve(P, budget, &ok);
  bad = expired + rejected + settle(P);
  P->offered += offered;
  P->served += served;
  P->ok += ok;
  P->bad += bad;
  P->offered_r = offered / P->h;
  P->served_r = served / P->h;
  P->ok_r = ok / P->h;
  P->bad_r = bad / P->h;
  if (ok + bad > TINY) P->share += P->smooth * (ok / (ok + bad) - P->share);
  for (int64_t i = P->out0; i < P->out1; i++) {
    edge_t *a = edges + out_edge[i];
    a->rate_new = a->calls * served / P->h;
    a->rate_avg += P->forget * (a->rate_new - a->rate_avg);
  }
  P->done_tick = ctl->tick;
  P->ring_sum += P->q - P->d_old;
  P->block_left -= 1;
  ctl->steps += 1;
}

static void look(double share, double watch, int64_t *is_below, int64_t code) {
  int64_t below, *row;
  if (watch < 0.0) return;
  below = *is_below ? !(share >= watch + HYSTERESIS * (1.0 - watch)) : share < watch;
  if (below == *is_below) return;
  *is_below = below;
  if (ctl->n_cross >= cross_max) return;
  row = cross + 3 * ctl->n_cross++;
  row[0] = ctl->tick, row[1] = code, row[2] = below;
  ctl->stop |= 1;
}

static void publish(pool_t *P) {
  for (int64_t i = P->out0; i < P->out1; i++) {
    edge_t *a = edges + out_edge[i];
    if (a->rate_new == a->rate) continue;
    a->issued += a->rate * (ctl->tick - a->issued_tick) * ctl->tick_s;
    a->issued_tick = ctl->tick;
    a->rate = a->rate_new;
  }
  for (int64_t i = P->in0; i < P->in1; i++) {
    edge_t *a = edges + in_edge[i];
    a->held = a->in_flight;
    a->p_ok = a->p_new;
    a->latency = a->latency_new;
    a->done_r = a->done_new;
  }
  for (int64_t i = P->in0; i < P->in1; i++) {
    edge_t *a = edges + in_edge[i];
    look(a->share, a->watch, &a->is_below, in_edge[i]);
  }
  look(P->share, P->watch, &P->is_below, n_edges + (P - pools));
}

/* Go to a tick; returns 0 if a watched share that crossed its threshold stopped it before. */
int64_t advance(ctl_t *ctl_, pool_t *pools_, edge_t *edges_, att_t *atts_, const int64_t *in_edge_,
                const int64_t *out_edge_, double *waiting_, double *late_, double *dead_,
                double *line_, int64_t *cross_, int64_t n_pools, int64_t n_edges_,
                int64_t cross_max_, int64_t target) {
  ctl = ctl_, pools = pools_, edges = edges_, atts = atts_;
  in_edge = in_edge_, out_edge = out_edge_;
  waiting = waiting_, late = late_, dead = dead_, line = line_;
  cross = cross_, n_edges = n_edges_, cross_max = cross_max_;
  while (ctl->read_cross >= ctl->n_cross) {
    int64_t next = (ctl->tick / ctl->stride + 1) * ctl->stride;
    if (ctl->tick >= target) return 1;
    ctl->tick = MIN(target, next);
    for (int64_t p = 0; p < n_pools; p++)
      if ((ctl->tick & (pools[p].h_ticks - 1)) == 0) step(pools + p);
    for (int64_t p = 0; p < n_pools; p++)
      if ((ctl->tick & (pools[p].h_ticks - 1)) == 0) publish(pools + p);
  }
  return 0;
}
