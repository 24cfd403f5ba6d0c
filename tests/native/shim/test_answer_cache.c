/* Answers are kept until something changes, and no answer outlives a change that came while it was
 * asked for. */
#include "check.h"

#include "cuda/answer_cache.h"

int main(void) {
    static int kernel;
    const struct answer_key key = {ASKED_KERNEL_ATTRIBUTE, &kernel, 1, 2};
    struct answer_key other = key;
    uint64_t generation;
    int answer = 0;
    other.second = 3;

    CHECK(!answer_find(key, &answer, &generation));
    answer_keep(key, 42, generation);
    CHECK(answer_find(key, &answer, &generation) && answer == 42);
    CHECK(!answer_find(other, &answer, &generation));

    answers_forget();
    CHECK(!answer_find(key, &answer, &generation));
    answers_forget(); /* while the host is being asked */
    answer_keep(key, 42, generation);
    CHECK(!answer_find(key, &answer, &generation));
    return result();
}
