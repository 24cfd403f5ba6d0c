/* The one thing in which the two templates differ. */
#include "driver.h"

const char tap_soname[] = TAP_SONAME;
const char tap_shim_key[] = "shim." TAP_SONAME;
const char tap_shim_variable[] = TAP_SHIM_VARIABLE;
