/* kernels_plain.h: how tests steer the plain kernels. */
#ifndef RECTO_TESTS_EMU_RUNTIME_PLAIN_KERNELS_PLAIN_H
#define RECTO_TESTS_EMU_RUNTIME_PLAIN_KERNELS_PLAIN_H

struct plain_settings {
    const char *refuse;  /* the launcher that says that no kernel covers its arguments; null: none does */
    const char *fault;   /* the kernel that fails on the device; null: none does */
    void (*meanwhile)(void);  /* called at every launch, captured or not; null: nothing */
};
extern struct plain_settings plain_settings;

extern unsigned plain_cluster;  /* blocks of a cluster along x in the launch that ran last; 0: it had none */

#endif
