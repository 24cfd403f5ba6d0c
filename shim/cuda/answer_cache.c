#include "cuda/answer_cache.h"

#include <pthread.h>

enum { ENTRIES = 4096 }; /* a llama model uses some 50 kernels, and 20 answers of each */

static struct entry {
    struct answer_key key;
    uint64_t generation; /* 0: empty */
    int answer;
} entries[ENTRIES];

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t current_generation = 1;

static struct entry *entry_of(const struct answer_key *key) {
    uint64_t hash = (uint64_t)(uintptr_t)key->handle * 0x9e3779b97f4a7c15;
    hash = (hash ^ key->first ^ (uint64_t)key->question << 56) * 0xbf58476d1ce4e5b9;
    hash = (hash ^ key->second) * 0x94d049bb133111eb;
    return &entries[hash >> 52];
}

static bool same(const struct answer_key *a, const struct answer_key *b) {
    return a->question == b->question && a->handle == b->handle && a->first == b->first &&
           a->second == b->second;
}

bool answer_find(struct answer_key key, int *answer, uint64_t *generation) {
    pthread_mutex_lock(&mutex);
    const struct entry *entry = entry_of(&key);
    bool found = entry->generation == current_generation && same(&entry->key, &key);
    if (found)
        *answer = entry->answer;
    *generation = current_generation;
    pthread_mutex_unlock(&mutex);
    return found;
}

void answer_keep(struct answer_key key, int answer, uint64_t generation) {
    pthread_mutex_lock(&mutex);
    if (generation == current_generation)
        *entry_of(&key) = (struct entry){.key = key, .generation = generation, .answer = answer};
    pthread_mutex_unlock(&mutex);
}

void answers_forget(void) {
    pthread_mutex_lock(&mutex);
    current_generation++;
    pthread_mutex_unlock(&mutex);
}
