#pragma once

#include <cstdio>
#include <cstdlib>

inline void check(bool holds, const char *what) {
    if (!holds) {
        std::fprintf(stderr, "not so: %s\n", what);
        std::exit(1);
    }
}
