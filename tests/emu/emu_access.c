/* Counters of memory accesses by place: wavefronts of shared memory, 32-byte sectors of device memory, and their ideals.
 *
 * The n-th access of each lane of a warp at one place belongs to one instruction of that warp. A wavefront serves 32 banks of
 * four bytes; of accesses of 8 and 16 bytes half and a quarter of the lanes go together, as on a device.
 */
#include "emu_check.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct place { uintptr_t pc; const char *file; int line; bool write, shared; };
struct total { struct place place; uint64_t requests, cost, ideal; };

struct request { uint32_t lanes; uint64_t address[32]; uint8_t bytes[32]; };
struct open {  /* a place that lanes of one warp are at */
    struct place place;
    int          warp;       /* in the worker; -1: the slot is free */
    uint32_t     passed[32]; /* accesses of each lane so far */
    uint32_t     base;       /* number of the first request */
    EMU_LIST(struct request) requests;
};

enum { SLOTS = 1 << 14 };
static __thread struct open *opened;
static struct total         *totals;
static int                   total_count, total_room;
static pthread_mutex_t       lock = PTHREAD_MUTEX_INITIALIZER;

static bool same(const struct place *a, const struct place *b)
{
    return a->pc == b->pc && a->file == b->file && a->line == b->line && a->write == b->write && a->shared == b->shared;
}

static void total_add(struct emu_worker *w, const struct place *place, uint64_t requests, uint64_t cost, uint64_t ideal)
{
    if (place->shared) {
        w->counters.shared_wavefronts += cost;
        w->counters.shared_ideal += ideal;
    } else {
        w->counters.global_sectors += cost;
        w->counters.global_ideal += ideal;
        w->counters.written_sectors += place->write ? cost : 0;
        w->counters.written_ideal += place->write ? ideal : 0;
    }
    if (!emu_settings()->counters)
        return;
    pthread_mutex_lock(&lock);
    int i = 0;
    while (i < total_count && !same(&totals[i].place, place))
        i++;
    if (i == total_count) {
        totals    = emu_list_room(totals, &total_room, total_count + 1, sizeof *totals);
        totals[i] = (struct total){ *place, 0, 0, 0 };
        total_count++;
    }
    totals[i].requests += requests;
    totals[i].cost += cost;
    totals[i].ideal += ideal;
    pthread_mutex_unlock(&lock);
}

void emu_access_add(struct emu_worker *w, struct emu_site site, bool write, uint64_t wavefronts, uint64_t ideal)
{
    struct place place = { 0, site.file, site.line, write, true };
    total_add(w, &place, 1, wavefronts, ideal);
}

/* ---- one request ---- */

static void sectors(const struct request *r, uint64_t *cost, uint64_t *ideal)
{
    uint64_t seen[64], bytes = 0;
    int      count = 0;
    for (int lane = 0; lane < 32; lane++) {
        if (!(r->lanes >> lane & 1) || !r->bytes[lane])
            continue;
        bytes += r->bytes[lane];
        for (uint64_t s = r->address[lane] >> 5; s <= (r->address[lane] + r->bytes[lane] - 1) >> 5; s++) {
            int i = 0;
            while (i < count && seen[i] != s)
                i++;
            if (i == count && count < 64)
                seen[count++] = s;
        }
    }
    uint64_t least = (bytes + 31) / 32;  /* lanes that read the same bytes make do with fewer */
    *cost += (uint64_t)count;
    *ideal += least < (uint64_t)count ? least : (uint64_t)count;
}

static void wavefronts(const struct request *r, uint64_t *cost, uint64_t *ideal)
{
    int widest = 0;
    for (int lane = 0; lane < 32; lane++)
        if (r->lanes >> lane & 1 && r->bytes[lane] > widest)
            widest = r->bytes[lane];
    int together = widest >= 16 ? 8 : widest == 8 ? 16 : 32;
    for (int first = 0; first < 32; first += together) {
        uint32_t address[32];
        int      lanes = 0;
        for (int lane = first; lane < first + together; lane++)
            if (r->lanes >> lane & 1)
                address[lanes++] = (uint32_t)r->address[lane];
        if (lanes) {
            *cost += (uint64_t)emu_wavefronts(address, lanes, widest < 4 ? 4 : widest);
            *ideal += 1;
        }
    }
}

static void close_first(struct emu_worker *w, struct open *o)
{
    uint64_t cost = 0, ideal = 0;
    if (o->place.shared)
        wavefronts(&o->requests.items[0], &cost, &ideal);
    else
        sectors(&o->requests.items[0], &cost, &ideal);
    total_add(w, &o->place, 1, cost, ideal);
    EMU_DROP_FIRST(&o->requests, 1);
    o->base++;
}

/* ---- places that are open ---- */

static struct open *open_at(const struct place *place, int warp)
{
    if (!opened) {
        opened = calloc(SLOTS, sizeof *opened);
        if (!opened)
            return NULL;
        for (int i = 0; i < SLOTS; i++)
            opened[i].warp = -1;
    }
    uint64_t at = emu_mix(place->pc * 31 + (uint64_t)place->line * 2 + place->write + ((uint64_t)warp << 48)) % SLOTS;
    for (int tries = 0; tries < SLOTS; tries++, at = (at + 1) % SLOTS) {
        struct open *o = &opened[at];
        if (o->warp == warp && same(&o->place, place))
            return o;
        if (o->warp < 0) {
            o->warp           = warp;
            o->place          = *place;
            o->base           = 0;
            o->requests.count = 0;
            memset(o->passed, 0, sizeof o->passed);
            return o;
        }
    }
    return NULL;
}

void emu_access_note(struct emu_fiber *f, uintptr_t pc, struct emu_site site, uint64_t address, int bytes, bool write,
                     bool shared)
{
    struct place place = { pc, pc ? NULL : site.file, pc ? 0 : site.line, write, shared };
    struct open *o     = open_at(&place, f->index / 32);
    int          lane  = f->thread.lane;
    if (!o)
        return;
    uint32_t number = o->passed[lane]++;
    while (o->base + (uint32_t)o->requests.count <= number)
        memset(EMU_PUSH(&o->requests), 0, sizeof *o->requests.items);
    if (number >= o->base) {
        struct request *r = &o->requests.items[number - o->base];
        r->lanes |= 1u << lane;
        r->address[lane] = address;
        r->bytes[lane]   = (uint8_t)(bytes > 128 ? 128 : bytes);
    }
    while (o->requests.count && o->requests.items[0].lanes == ~0u)
        close_first(emu_worker, o);
}

void emu_access_cluster_end(struct emu_worker *w)
{
    for (int i = 0; opened && i < SLOTS; i++) {
        if (opened[i].warp < 0)
            continue;
        while (opened[i].requests.count)
            close_first(w, &opened[i]);
        opened[i].warp = -1;
    }
}

/* ---- what is printed ---- */

static int worse(const void *a, const void *b)
{
    const struct total *x = a, *y = b;
    uint64_t            over_x = x->cost - x->ideal, over_y = y->cost - y->ideal;
    return over_x < over_y ? 1 : over_x > over_y ? -1 : 0;
}

extern char __executable_start;

void emu_access_print(void)
{
    pthread_mutex_lock(&lock);
    if (total_count)
        qsort(totals, (size_t)total_count, sizeof *totals, worse);
    for (int i = 0; i < total_count; i++) {
        const struct total *t = &totals[i];
        char                where[256];
        if (t->place.pc)  /* the return address: one byte back is inside the access */
            snprintf(where, sizeof where, "+0x%zx", (size_t)(t->place.pc - 1 - (uintptr_t)&__executable_start));
        else
            snprintf(where, sizeof where, "%s:%d", t->place.file, t->place.line);
        fprintf(stderr, "[emu-access] %s %s %s requests %llu %s %llu ideal %llu\n", where, t->place.shared ? "shared" : "global",
                t->place.write ? "store" : "load", (unsigned long long)t->requests, t->place.shared ? "wavefronts" : "sectors",
                (unsigned long long)t->cost, (unsigned long long)t->ideal);
    }
    pthread_mutex_unlock(&lock);
}
