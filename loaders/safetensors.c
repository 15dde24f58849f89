#include "loaders/safetensors.h"

#include "loaders/file.h"
#include "loaders/json.h"
#include "loaders/sort.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct shard {
    const void              *pages;  /* mapped; null for a model in memory */
    uint64_t                 bytes;
    struct safetensors_table table;
};

struct safetensors {
    struct pool             *pool;
    struct safetensors_table table;   /* of all shards; of a single file: the shard's own */
    struct tensor_view      *merged;  /* the block of `table` when there is an index */
    size_t                   shard_count;
    struct shard             shards[];
};

/* One line of an index. Both strings live in the index's document. */
struct placement {
    const char *tensor;
    const char *shard;
};

struct index {
    const char       *path;
    struct placement *placements;
    size_t            count;
};

static status model_new(struct pool *pool, size_t shards, struct safetensors **model, struct error *error)
{
    void  *block;
    size_t bytes = sizeof(struct safetensors) + shards * sizeof(struct shard);
    status code = pool_alloc(pool, MEMORY_LOAD, bytes, "a safetensors model", &block, error);
    if (code != STATUS_OK)
        return code;
    *model = memset(block, 0, bytes);
    (*model)->pool = pool;
    (*model)->shard_count = shards;
    return STATUS_OK;
}

void safetensors_close(struct safetensors *model)
{
    if (!model)
        return;
    for (size_t i = 0; i < model->shard_count; i++) {
        file_unmap(model->shards[i].pages, model->shards[i].bytes);
        pool_free(model->pool, model->shards[i].table.tensors);
    }
    pool_free(model->pool, model->merged);
    pool_free(model->pool, model);
}

static void set_data(struct safetensors_table *table, const void *bytes)
{
    for (size_t i = 0; i < table->count; i++)
        table->tensors[i].data = (const char *)bytes + table->tensors[i].file_offset;
}

/* The header is read by pread, not from the mapping: a file cut short meanwhile is an error and not a signal. */
static status shard_read_header(struct pool *pool, int descriptor, const char *path, struct shard *shard,
                                struct error *error)
{
    unsigned char prefix[SAFETENSORS_PREFIX] = {0};
    uint64_t      length = 0;
    size_t        there = shard->bytes < sizeof prefix ? (size_t)shard->bytes : sizeof prefix;
    status        code = file_read_at(descriptor, path, 0, prefix, there, error);
    if (code == STATUS_OK)
        code = safetensors_header_length(prefix, shard->bytes, path, &length, error);
    void *header = NULL;
    if (code == STATUS_OK)
        code = pool_alloc(pool, MEMORY_LOAD, (size_t)length, "the header of a safetensors file", &header, error);
    if (code != STATUS_OK)
        return code;
    code = file_read_at(descriptor, path, sizeof prefix, header, (size_t)length, error);
    if (code == STATUS_OK)
        code = safetensors_header_read(pool, header, (size_t)length, shard->bytes, path, &shard->table, error);
    pool_free(pool, header);
    return code;
}

/* What it leaves in `shard` on failure, safetensors_close takes back. */
static status shard_open(struct pool *pool, const char *path, struct shard *shard, struct error *error)
{
    int    descriptor;
    status code = file_open(path, &descriptor, &shard->bytes, error);
    if (code != STATUS_OK)
        return code;
    code = shard_read_header(pool, descriptor, path, shard, error);
    if (code == STATUS_OK)
        code = file_map(descriptor, path, shard->bytes, &shard->pages, error);
    file_close(descriptor);
    if (code == STATUS_OK)
        set_data(&shard->table, shard->pages);
    return code;
}

static status open_single(struct pool *pool, const char *path, struct safetensors *model, struct error *error)
{
    status code = shard_open(pool, path, &model->shards[0], error);
    model->table = model->shards[0].table;
    return code;
}

static int by_shard_and_tensor(const void *left, const void *right)
{
    const struct placement *a = left, *b = right;
    int order = strcmp(a->shard, b->shard);
    return order != 0 ? order : strcmp(a->tensor, b->tensor);
}

/* No absolute path and no step upwards, so that an index cannot name a file outside its folder. */
static int stays_inside(const char *path)
{
    if (*path == '\0' || *path == '/')
        return 0;
    for (;;) {
        size_t step = strcspn(path, "/");
        if (step == 2 && path[0] == '.' && path[1] == '.')
            return 0;
        if (path[step] == '\0')
            return 1;
        path += step + 1;
    }
}

static status read_placements(const struct json *map, struct index *index, struct error *error)
{
    struct json_iterator entry = {0};
    while (json_next(map, &entry)) {
        const char *shard = json_as_string(entry.value, NULL);
        if (!shard)
            return error_set(error, STATUS_MODEL,
                             "safetensors: %s: weight_map: the file of '%.160s' is %s, expected a string", index->path,
                             entry.key, json_kind_name(json_kind(entry.value)));
        if (!stays_inside(shard))
            return error_set(error, STATUS_MODEL,
                             "safetensors: %s: weight_map: the file of '%.160s' is '%.160s', expected one inside the "
                             "index's folder",
                             index->path, entry.key, shard);
        index->placements[index->count++] = (struct placement){.tensor = entry.key, .shard = shard};
    }
    sort_in_place(index->placements, index->count, sizeof *index->placements, by_shard_and_tensor);
    return STATUS_OK;
}

static size_t count_shards(const struct index *index)
{
    size_t shards = 0;
    for (size_t i = 0; i < index->count; i++)
        shards += i == 0 || strcmp(index->placements[i].shard, index->placements[i - 1].shard) != 0;
    return shards;
}

static status open_beside(struct pool *pool, const char *index_path, const char *name, struct shard *shard,
                          struct error *error)
{
    const char *slash = strrchr(index_path, '/');
    int         folder = slash ? (int)(slash - index_path) + 1 : 0;
    size_t      bytes = (size_t)folder + strlen(name) + 1;
    void       *path;
    status      code = pool_alloc(pool, MEMORY_LOAD, bytes, "a shard's path", &path, error);
    if (code != STATUS_OK)
        return code;
    snprintf(path, bytes, "%.*s%s", folder, index_path, name);
    code = shard_open(pool, path, shard, error);
    pool_free(pool, path);
    return code;
}

/* Placements are sorted by shard: each shard is opened when its first tensor comes. */
static status merge_shards(const struct index *index, struct safetensors *model, struct error *error)
{
    struct shard *shard = NULL;
    for (size_t i = 0; i < index->count; i++) {
        const struct placement *placement = &index->placements[i];
        if (i == 0 || strcmp(placement->shard, index->placements[i - 1].shard) != 0) {
            shard = shard ? shard + 1 : model->shards;
            status code = open_beside(model->pool, index->path, placement->shard, shard, error);
            if (code != STATUS_OK)
                return code;
        }
        const struct tensor_view *view = safetensors_table_find(&shard->table, placement->tensor);
        if (!view)
            return error_set(error, STATUS_MODEL,
                             "safetensors: %s: weight_map puts tensor '%.160s' into '%.160s', which does not have it",
                             index->path, placement->tensor, placement->shard);
        model->merged[i] = *view;
    }
    model->table = (struct safetensors_table){.tensors = model->merged, .count = index->count};
    safetensors_table_sort(&model->table);
    return STATUS_OK;
}

static status open_placements(struct pool *pool, const struct json *map, struct index *index, struct safetensors **model,
                              struct error *error)
{
    status code = read_placements(map, index, error);
    if (code == STATUS_OK)
        code = model_new(pool, count_shards(index), model, error);
    if (code != STATUS_OK)
        return code;
    void *block;
    code = pool_alloc(pool, MEMORY_LOAD, index->count * sizeof(struct tensor_view), "the tensors of a safetensors index",
                      &block, error);
    if (code != STATUS_OK)
        return code;
    (*model)->merged = block;
    return merge_shards(index, *model, error);
}

static status open_index(struct pool *pool, const char *path, struct safetensors **model, struct error *error)
{
    struct json_document *document;
    status                code = json_read(pool, path, &document, error);
    if (code != STATUS_OK)
        return code;
    const struct json *map = json_member(json_root(document), "weight_map");
    struct index       index = {.path = path};
    void              *block = NULL;
    if (json_kind(map) != JSON_KIND_OBJECT)
        code = error_set(error, STATUS_MODEL, "safetensors: %s: weight_map is %s, expected an object", path,
                         json_kind_name(json_kind(map)));
    else
        code = pool_alloc(pool, MEMORY_LOAD, json_object_length(map) * sizeof *index.placements,
                          "the lines of a safetensors index", &block, error);
    index.placements = block;
    if (code == STATUS_OK)
        code = open_placements(pool, map, &index, model, error);
    pool_free(pool, block);
    json_free(document);
    return code;
}

status safetensors_open(struct pool *pool, const char *path, struct safetensors **model, struct error *error)
{
    struct safetensors *opened = NULL;
    size_t              length = strlen(path);
    status              code;
    if (length >= 5 && strcmp(path + length - 5, ".json") == 0) {
        code = open_index(pool, path, &opened, error);
    } else {
        code = model_new(pool, 1, &opened, error);
        if (code == STATUS_OK)
            code = open_single(pool, path, opened, error);
    }
    if (code != STATUS_OK) {
        safetensors_make_printable(error);
        safetensors_close(opened);
        opened = NULL;
    }
    *model = opened;
    return code;
}

status safetensors_open_memory(struct pool *pool, const void *bytes, size_t length, const char *name,
                               struct safetensors **model, struct error *error)
{
    *model = NULL;
    uint64_t      header = 0;
    unsigned char prefix[SAFETENSORS_PREFIX] = {0};
    if (length > 0)
        memcpy(prefix, bytes, length < sizeof prefix ? length : sizeof prefix);
    status code = safetensors_header_length(prefix, length, name, &header, error);
    struct safetensors *opened = NULL;
    if (code == STATUS_OK)
        code = model_new(pool, 1, &opened, error);
    if (code != STATUS_OK)
        return code;
    struct safetensors_table *table = &opened->shards[0].table;
    code = safetensors_header_read(pool, (const char *)bytes + sizeof prefix, (size_t)header, length, name, table, error);
    if (code != STATUS_OK) {
        safetensors_close(opened);
        return code;
    }
    set_data(table, bytes);
    opened->table = *table;
    *model = opened;
    return STATUS_OK;
}

size_t safetensors_count(const struct safetensors *model)
{
    return model->table.count;
}

const struct tensor_view *safetensors_at(const struct safetensors *model, size_t index)
{
    return index < model->table.count ? &model->table.tensors[index] : NULL;
}

const struct tensor_view *safetensors_find(const struct safetensors *model, const char *name)
{
    return safetensors_table_find(&model->table, name);
}

/* Whole pages: a neighbour's bytes on the first or last page are only read again. Bytes that lie in no mapping of ours
 * are left alone: dropping a page of the caller's heap would clear it. */
static void advise(const struct safetensors *model, const void *from, uint64_t bytes, int advice)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)from;
    for (size_t i = 0; i < model->shard_count; i++) {
        uintptr_t begin = (uintptr_t)model->shards[i].pages;
        if (!begin || first < begin || first - begin > model->shards[i].bytes ||
            bytes > model->shards[i].bytes - (first - begin))
            continue;
        uintptr_t start = first & ~(page - 1);
        madvise((void *)start, (size_t)(first + bytes - start), advice);
        return;
    }
}

void safetensors_fetch(const struct safetensors *model, const void *from, uint64_t bytes)
{
    advise(model, from, bytes, MADV_WILLNEED);
}

void safetensors_drop(const struct safetensors *model, const void *from, uint64_t bytes)
{
    /* What lies before goes too: where the system keeps a file in large folios, touching one page maps the whole folio
     * again, pages that were dropped a moment ago included. */
    enum { LARGEST_FOLIO = 4 << 20 };
    const char *begin = from;
    for (size_t i = 0; i < model->shard_count; i++) {
        const char *pages = model->shards[i].pages;
        if (pages && begin >= pages && (uint64_t)(begin - pages) <= model->shards[i].bytes) {
            size_t before = (size_t)(begin - pages) < LARGEST_FOLIO ? (size_t)(begin - pages) : LARGEST_FOLIO;
            advise(model, begin - before, bytes + before, MADV_DONTNEED);
            return;
        }
    }
}
