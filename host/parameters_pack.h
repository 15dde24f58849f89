/* parameters_pack.h: the two sources of a network's parameters: tensors of a folder on their way into a pack, and the pack. */
#ifndef RECTO_HOST_PARAMETERS_PACK_H
#define RECTO_HOST_PARAMETERS_PACK_H

#include "host/recto.h"
#include "loaders/pack.h"
#include "loaders/safetensors.h"
#include "models/parameters.h"

/* Reads tensors and writes what the kernels want of them. Memory for sixteen rows at a time, all booked as MEMORY_LOAD. */
struct packer {
    struct pool        *pool;
    struct safetensors *tensors;
    const char         *file;          /* for sentences */
    struct safetensors *dense[4];      /* "dense.N." names these */
    const char         *dense_file[4];
    struct pack_writer *writer;
    recto_progress     *progress;
    void               *progress_user;
    uint64_t            done, total;   /* bytes of tensors */
    size_t (*weight_stride)(enum dtype type, int k);  /* weights row by row, as an accelerator reads them; null: in panels */
    float              *vectors;       /* what vector() gave out: valid while the packer is */
    size_t              vectors_used, vectors_room;
};

/* `vectors_room`: floats, enough for every vector of the network. */
MUST_CHECK status packer_open(struct packer *packer, size_t vectors_room, struct error *error);
void packer_close(struct packer *packer);
struct parameter_source packer_source(struct packer *packer);

/* An open pack, and where its blobs are for the kernels. */
struct pack_places {
    const struct pack *pack;
    char *const       *places;  /* of each blob, in the order of pack_at; null: where the host has them */
    size_t (*weight_stride)(enum dtype type, int k);  /* as it was packed */
};
struct parameter_source pack_source(const struct pack_places *places);

#endif
