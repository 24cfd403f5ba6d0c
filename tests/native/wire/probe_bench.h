/* Measures the wire against what it is made of, in one process and one run. */
#ifndef SHIMBENCH_PROBE_BENCH_H
#define SHIMBENCH_PROBE_BENCH_H

/* Prints one line "bench NAME=VALUE ..." with times in ns and rates in GB/s. Connected already. */
void probe_bench(unsigned long long calls);

#endif
