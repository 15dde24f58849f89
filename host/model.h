/* model.h: an open model: settings, tokenizer, packed weights, plans. */
#ifndef RECTO_HOST_MODEL_H
#define RECTO_HOST_MODEL_H

#include "host/engine.h"
#include "loaders/model_folder.h"
#include "loaders/pack.h"
#include "loaders/tokenizer.h"
#include "models/bert.h"

enum { MODEL_PLANS = 24 };

/* Plans by token cap, under the engine's lock. A plan in use is never dropped. */
struct model_plan_entry {
    struct plan *plan;
    int          tokens;  /* its cap */
    int          users;
    uint64_t     used;    /* when it was used last, in runs */
};

/* The weights of a model on an accelerator. `state` under the engine's lock. */
struct model_residence {
    struct device_weights *weights;
    int                    state;     /* model_residence.c */
    uint64_t               sleeps;
    char                  *places[];  /* of each blob of the pack: device memory */
};

struct recto_model {
    struct recto_engine    *engine;
    struct recto_model     *next;      /* in the engine's list */
    struct model_folder    *folder;
    struct tokenizer       *tokenizer;
    struct pack            *pack;
    struct model_residence *residence; /* weights on an accelerator, else null */
    struct bert_config      config;
    struct bert_weights     weights;
    bool                    packed_now;
    struct model_plan_entry plans[MODEL_PLANS];
};

/* The smallest cap of the ladder that holds `tokens`. */
int model_token_cap(int tokens);
/* How many sequences a plan of this token cap can take. */
int model_sequence_cap(const struct recto_engine *engine, int token_cap);

/* Finds or traces the plan for a token cap and marks it as in use until model_release_plan. Thread-safe. */
MUST_CHECK status model_take_plan(struct recto_model *model, int token_cap, const struct plan **plan, struct error *error);
void model_release_plan(struct recto_model *model, const struct plan *plan);
/* Closes the plans that nobody runs; the engine's lock is held. */
void model_drop_plans(struct recto_model *model);

/* batch.c: one run of a plan of the model, which the caller has in use, in a slot that nobody else uses. batch_fit brings memory
 * and the place of the inputs; `times` may be null. */
MUST_CHECK status batch_fit(struct recto_model *model, struct slot *slot, struct run *run, int team, struct error *error);
MUST_CHECK status batch_run(struct recto_model *model, struct slot *slot, const struct run *run, int team,
                            struct run_times *times, struct error *error);

/* model_pack.c: opens the packed weights of a precision, making them where there are none, and binds them. */
struct model_packing {
    recto_progress *progress;
    void           *progress_user;
};
MUST_CHECK status model_bind_weights(struct recto_model *model, const struct model_packing *packing, struct error *error);

/* model_residence.c: the weights on an accelerator. On the CPU these do nothing. */

/* Copies the open pack there. */
MUST_CHECK status model_residence_open(struct recto_model *model, struct error *error);
void              model_residence_close(struct recto_model *model);
/* Gives back the device memory of a model that nobody uses; addresses, plans and graphs stay. The engine's lock is held. */
void model_sleep(struct recto_model *model);
/* Called by whoever has a plan of the model in use: brings the weights back if they are gone. */
MUST_CHECK status model_wake(struct recto_model *model, struct error *error);

#endif
