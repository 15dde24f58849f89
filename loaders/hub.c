#include "loaders/hub.h"

#include "loaders/file.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { NAME_BYTES_MAX = 256, COMMIT_DIGITS = 40, COMMIT_DIGITS_MAX = 64 };

/* `organisation/name@revision` taken apart. Models without an organisation exist on the hub too. */
struct hub_name {
    char        repository[NAME_BYTES_MAX];
    const char *revision;  /* null: main */
};

static bool is_folder(const char *path)
{
    struct stat facts;
    return stat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
}

/* FRONT/MIDDLE/BACK; `path` may be `front`. */
static status join(char path[HUB_PATH_MAX], const char *front, const char *middle, const char *back, struct error *error)
{
    char made[HUB_PATH_MAX];
    int  length = snprintf(made, sizeof made, "%s/%s%s%s", front, middle, *back ? "/" : "", back);
    if (length < 0 || (size_t)length >= sizeof made)
        return error_set(error, STATUS_USAGE, "the path '%.200s...' is longer than %d bytes", made, HUB_PATH_MAX - 1);
    memcpy(path, made, (size_t)length + 1);
    return STATUS_OK;
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

static bool is_printable(const char *text)
{
    while (*text && !iscntrl((unsigned char)*text))
        text++;
    return *text == '\0';
}

/* Letters, digits and "-_." in pieces between slashes; no piece "." or "..", none empty. */
static bool is_hub_path(const char *text, size_t length)
{
    bool empty = true, dots = true;  /* of the piece so far */
    for (size_t i = 0; i <= length; i++) {
        bool end = i == length || text[i] == '/';
        if (end && (empty || dots))
            return false;
        if (!end && !isalnum((unsigned char)text[i]) && !strchr("-_.", text[i]))
            return false;
        empty = end;
        dots = end || (dots && text[i] == '.');
    }
    return true;
}

/* The cache writes "--" for the slash, so a name that holds it would be two names. */
static bool split_name(const char *name, struct hub_name *split)
{
    size_t length = strcspn(name, "@");
    split->revision = name[length] == '@' ? name + length + 1 : NULL;
    if (!is_hub_path(name, length) || (split->revision && !is_hub_path(split->revision, strlen(split->revision))))
        return false;
    memcpy(split->repository, name, length);
    split->repository[length] = '\0';
    const char *slash = strchr(split->repository, '/');
    return !strstr(split->repository, "--") && !(slash && strchr(slash + 1, '/'));
}

/* ---- the Hugging Face cache -------------------------------------------------------------------------------------- */

static status refuse_missing(const char *cache, const struct hub_name *name, const char *what, struct error *error)
{
    return error_set(error, STATUS_MODEL, "%s of model '%s' is not in the Hugging Face cache %s; to get it: hf download %s%s%s",
                     what, name->repository, cache, name->repository, name->revision ? " --revision " : "",
                     name->revision ? name->revision : "");
}

static bool is_commit(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!isxdigit((unsigned char)text[i]))
            return false;
    return length >= COMMIT_DIGITS && length <= COMMIT_DIGITS_MAX;
}

static status read_ref(const char *path, char commit[COMMIT_DIGITS_MAX + 2], struct error *error)
{
    int      descriptor;
    uint64_t bytes;
    status   code = file_open(path, &descriptor, &bytes, error);
    if (code != STATUS_OK)
        return code;
    size_t length = bytes <= COMMIT_DIGITS_MAX + 1 ? (size_t)bytes : 0;
    code = file_read_at(descriptor, path, 0, commit, length, error);
    file_close(descriptor);
    if (code != STATUS_OK)
        return code;
    while (length > 0 && isspace((unsigned char)commit[length - 1]))
        length--;
    commit[length] = '\0';
    if (!is_commit(commit, length))
        return error_set(error, STATUS_MODEL, "%s: expected the hexadecimal digits of a commit and nothing else", path);
    return STATUS_OK;
}

/* A revision is looked up among the refs first: a branch may be named like a commit. */
static status find_commit(const char *repository, const struct hub_name *name, const char *cache,
                          char commit[COMMIT_DIGITS_MAX + 2], struct error *error)
{
    const char *revision = name->revision ? name->revision : "main";
    char   path[HUB_PATH_MAX];
    struct stat facts;
    status code = join(path, repository, "refs", revision, error);
    if (code != STATUS_OK)
        return code;
    if (stat(path, &facts) == 0)
        return read_ref(path, commit, error);
    size_t length = strlen(revision);
    if (!is_commit(revision, length))
        return refuse_missing(cache, name, name->revision ? "that revision" : "the main revision", error);
    memcpy(commit, revision, length + 1);
    return STATUS_OK;
}

static status find_in_cache(const char *cache, const struct hub_name *name, char folder[HUB_PATH_MAX], struct error *error)
{
    char  repository[HUB_PATH_MAX], commit[COMMIT_DIGITS_MAX + 2], stem[NAME_BYTES_MAX + 16];
    const char *slash = strchr(name->repository, '/');
    int   organisation = slash ? (int)(slash - name->repository) : 0;
    snprintf(stem, sizeof stem, "models--%.*s%s%s", organisation, name->repository, slash ? "--" : "",
             slash ? slash + 1 : name->repository);
    status code = join(repository, cache, stem, "", error);
    if (code == STATUS_OK && !is_folder(repository))
        code = refuse_missing(cache, name, "any revision", error);
    if (code == STATUS_OK)
        code = find_commit(repository, name, cache, commit, error);
    if (code == STATUS_OK)
        code = join(folder, repository, "snapshots", commit, error);
    if (code == STATUS_OK && !is_folder(folder))
        code = refuse_missing(cache, name, "the snapshot of that revision", error);
    return code;
}

/* ---- in order --------------------------------------------------------------------------------------------------- */

static status find_by_name(const struct hub_roots *roots, const char *text, char folder[HUB_PATH_MAX], struct error *error)
{
    struct hub_name name;
    struct error    ignored;
    if (!split_name(text, &name))
        return error_set(error, STATUS_MODEL, "%s: there is no such folder, and no model can have this name", text);
    bool plain = !strchr(text, '/') && !name.revision;
    if (plain && roots->models) {
        status code = join(folder, roots->models, text, "", error);
        if (code != STATUS_OK || is_folder(folder))
            return code;
    }
    if (plain) {
        if (roots->hub_cache && find_in_cache(roots->hub_cache, &name, folder, &ignored) == STATUS_OK)
            return STATUS_OK;
        return error_set(error, STATUS_MODEL, "model '%s' is not here: there is no such folder, and none of this name in %s",
                         text, roots->models ? roots->models : "any folder of models");
    }
    if (!roots->hub_cache)
        return error_set(error, STATUS_MODEL, "model '%s' is not here: there is no such folder, and no Hugging Face cache",
                         text);
    return find_in_cache(roots->hub_cache, &name, folder, error);
}

status hub_find(const struct hub_roots *roots, const char *name, char folder[HUB_PATH_MAX], struct error *error)
{
    size_t length = strlen(name);
    folder[0] = '\0';
    if (length == 0 || length >= HUB_PATH_MAX || !is_printable(name))
        return error_set(error, STATUS_USAGE, "a model's name has 1 to %d printable characters, this one does not",
                         HUB_PATH_MAX - 1);
    struct stat facts;
    if (stat(name, &facts) == 0) {
        if (!S_ISDIR(facts.st_mode))
            return error_set(error, STATUS_MODEL, "%s: expected a model's folder, found a file", name);
        memcpy(folder, name, length + 1);
        return STATUS_OK;
    }
    if (length >= NAME_BYTES_MAX)
        return error_set(error, STATUS_MODEL, "%.200s...: there is no such folder", name);
    status code = find_by_name(roots, name, folder, error);
    if (code != STATUS_OK)
        folder[0] = '\0';
    return code;
}
