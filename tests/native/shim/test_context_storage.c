/* Context-local storage, in the primary context, which needs no host to be named. */
#include "check.h"

#include <stdint.h>

#include "cuda/context.h"
#include "cuda/context_storage.h"

static int keys[3];
static void *destroyed[8];
static int destroyed_count;

static void note_destruction(CUcontext ctx, void *key, void *value) {
    (void)key;
    CHECK(ctx == context_handle(primary_context(0)));
    destroyed[destroyed_count++] = value;
}

static CUcontext primary(void) {
    return context_handle(primary_context(0));
}

static void what_was_never_put_is_not_found_and_null(void) {
    void *value = &value;
    CHECK(context_storage_get(&value, primary(), &keys[0]) == CUDA_ERROR_INVALID_HANDLE);
    CHECK(!value);
}

static void what_was_put_is_found_until_it_is_deleted(void) {
    void *value;
    CHECK(context_storage_put(primary(), &keys[0], &keys[1], note_destruction) == CUDA_SUCCESS);
    CHECK(context_storage_get(&value, primary(), &keys[0]) == CUDA_SUCCESS && value == &keys[1]);
    CHECK(context_storage_put(primary(), &keys[0], &keys[2], note_destruction) == CUDA_SUCCESS);
    CHECK(context_storage_get(&value, primary(), &keys[0]) == CUDA_SUCCESS && value == &keys[2]);
    CHECK(context_storage_delete(primary(), &keys[0]) == CUDA_SUCCESS);
    CHECK(context_storage_get(&value, primary(), &keys[0]) == CUDA_ERROR_INVALID_HANDLE);
    CHECK(context_storage_delete(primary(), &keys[0]) == CUDA_ERROR_INVALID_HANDLE);
    CHECK(destroyed_count == 0);
}

static void values_are_destroyed_with_their_context_the_newest_first(void) {
    void *value;
    context_storage_put(primary(), &keys[0], &keys[0], note_destruction);
    context_storage_put(primary(), &keys[1], &keys[1], NULL);
    context_storage_put(primary(), &keys[2], &keys[2], note_destruction);
    context_storage_clear(primary_context(0));
    CHECK(destroyed_count == 2 && destroyed[0] == &keys[2] && destroyed[1] == &keys[0]);
    CHECK(context_storage_get(&value, primary(), &keys[1]) == CUDA_ERROR_INVALID_HANDLE);
}

static void a_thread_without_a_context_has_no_storage(void) {
    void *value;
    CHECK(context_storage_get(&value, NULL, &keys[0]) == CUDA_ERROR_INVALID_CONTEXT);
    CHECK(context_storage_put(NULL, &keys[0], &keys[0], NULL) == CUDA_ERROR_INVALID_CONTEXT);
    CHECK(context_storage_put((CUcontext)(uintptr_t)0xdeadbeef, &keys[0], &keys[0], NULL) ==
          CUDA_ERROR_INVALID_CONTEXT);
}

int main(void) {
    what_was_never_put_is_not_found_and_null();
    what_was_put_is_found_until_it_is_deleted();
    values_are_destroyed_with_their_context_the_newest_first();
    a_thread_without_a_context_has_no_storage();
    return result();
}
