/* Answers of the host that stay as they are until a kernel is changed or code is unloaded. The runtime
 * asks for them before every launch. */
#ifndef SHIMBENCH_CUDA_ANSWER_CACHE_H
#define SHIMBENCH_CUDA_ANSWER_CACHE_H

#include <stdbool.h>
#include <stdint.h>

enum question { ASKED_KERNEL_ATTRIBUTE, ASKED_FUNCTION_ATTRIBUTE, ASKED_ACTIVE_BLOCKS };

struct answer_key {
    enum question question;
    const void *handle;
    uint64_t first;
    uint64_t second;
};

/* `*generation` is what answer_keep wants back: an answer that was asked for before a change isn't
 * kept after it. */
bool answer_find(struct answer_key key, int *answer, uint64_t *generation);
void answer_keep(struct answer_key key, int answer, uint64_t generation);

/* To be called after the host has changed something. */
void answers_forget(void);

#endif
