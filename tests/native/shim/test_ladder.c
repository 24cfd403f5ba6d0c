/* Which export a name means, by version, by driver and by stream. */
#include "check.h"

#include <stdint.h>
#include <string.h>

#include <cuda_prototypes.h>

#include "cuda/proc_address.h"

#define AT(number) ((void *)(uintptr_t)(number))

/* As proc_rungs is made: by name, plain before per-thread, by version. */
const struct rung proc_rungs[] = {
    {"cuCtxGetDevice", 2000, false, AT(1)},
    {"cuCtxGetDevice", 13000, false, AT(2)},
    {"cuGetProcAddress", 11030, false, AT(3)},
    {"cuGetProcAddress", 12000, false, AT(4)},
    {"cuInit", 2000, false, AT(5)},
    {"cuMemcpy", 4000, false, AT(6)},
    {"cuMemcpy", 7000, true, AT(7)},
};
const size_t proc_rung_count = sizeof proc_rungs / sizeof *proc_rungs;

static CUdriverProcAddressQueryResult status;

static uintptr_t find(const char *name, int version, int driver, bool per_thread) {
    const struct rung *rung =
        find_rung(proc_rungs, proc_rung_count, name, version, driver, per_thread, &status);
    return rung ? (uintptr_t)rung->address : 0;
}

static void the_newest_form_that_is_not_too_new_answers(void) {
    CHECK(find("cuCtxGetDevice", 12090, 13050, false) == 1);
    CHECK(find("cuCtxGetDevice", 13000, 13050, false) == 2);
    CHECK(find("cuInit", 2000, 13050, false) == 5);
}

static void a_driver_does_not_know_what_came_after_it(void) {
    CHECK(find("cuCtxGetDevice", 13050, 12090, false) == 1);
    CHECK(find("cuGetProcAddress", 13050, 11080, false) == 3);
}

static void a_name_asked_for_too_early_is_told_apart_from_an_unknown_one(void) {
    CHECK(find("cuGetProcAddress", 11020, 13050, false) == 0);
    CHECK(status == CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    CHECK(find("cuNever", 13050, 13050, false) == 0);
    CHECK(status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    CHECK(find("", 0, 13050, false) == 0);
    CHECK(find("cuMemcpyz", 13050, 13050, false) == 0);
}

static void per_thread_forms_answer_where_they_are_wanted_and_exist(void) {
    CHECK(find("cuMemcpy", 7000, 13050, true) == 7);
    CHECK(find("cuMemcpy", 7000, 13050, false) == 6);
    CHECK(find("cuMemcpy", 4000, 13050, true) == 6);
    CHECK(find("cuInit", 13050, 13050, true) == 5);
}

static void the_two_versions_of_cuGetProcAddress_answer_differently(void) {
    void *address = AT(99);
    CHECK(cuGetProcAddress_v2("cuNever", &address, 12000, 0, &status) == CUDA_SUCCESS);
    CHECK(!address && status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    address = AT(99);
    CHECK(cuGetProcAddress("cuNever", &address, 12000, 0) == CUDA_ERROR_NOT_FOUND);
    CHECK(address == AT(99));
    CHECK(cuGetProcAddress_v2("cuGetProcAddress", &address, 12000, 0, NULL) == CUDA_SUCCESS &&
          address == AT(4));
    CHECK(cuGetProcAddress_v2("cuGetProcAddress", &address, 11030, 0, NULL) == CUDA_SUCCESS &&
          address == AT(3));
    CHECK(cuGetProcAddress_v2("cuInit", &address, 12000, 3, NULL) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuGetProcAddress_v2("cuInit", NULL, 12000, 0, NULL) == CUDA_ERROR_INVALID_VALUE);
}

int main(void) {
    the_newest_form_that_is_not_too_new_answers();
    a_driver_does_not_know_what_came_after_it();
    a_name_asked_for_too_early_is_told_apart_from_an_unknown_one();
    per_thread_forms_answer_where_they_are_wanted_and_exist();
    the_two_versions_of_cuGetProcAddress_answer_differently();
    return result();
}
