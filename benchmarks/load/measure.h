/* The instruments of the load clients: a clock, a histogram, and their output. */

#ifndef MEASURE_H
#define MEASURE_H

#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

/* Nanoseconds since the epoch, as servers write the times of their changes. */
static inline int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* The processor time that this process has used. */
static inline double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Times in nanoseconds, in 32 buckets for each power of two: a quantile is right to 3 %. */
enum { STEPS = 32, BUCKETS = 64 * STEPS };

struct histogram {
    uint64_t count, buckets[BUCKETS];
    int64_t max;
};

static inline int bucket_of(uint64_t value) {
    if (value < STEPS) return (int)value;
    int power = 63 - __builtin_clzll(value);
    return (power - 4) * STEPS + (int)((value >> (power - 5)) - STEPS);
}

static inline double middle_of(int bucket) {
    if (bucket < STEPS) return bucket;
    int power = bucket / STEPS + 4;
    double width = (double)(1ull << (power - 5));
    return (double)(STEPS + bucket % STEPS) * width + width / 2;
}

static inline void record(struct histogram *histogram, int64_t value) {
    if (value < 0) value = 0;
    if (value > histogram->max) histogram->max = value;
    histogram->buckets[bucket_of((uint64_t)value)]++;
    histogram->count++;
}

static inline double quantile(const struct histogram *histogram, double share) {
    uint64_t wanted = (uint64_t)((double)histogram->count * share), below = 0;
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
        below += histogram->buckets[bucket];
        if (below > wanted) return middle_of(bucket);
    }
    return (double)histogram->max;
}

/* Write a member of a JSON object that has been begun. */
static inline void tell_milliseconds(const char *name, const struct histogram *histogram) {
    printf(
        ",\"%s\":{\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f}", name, quantile(histogram, 0.5) / 1e6,
        quantile(histogram, 0.99) / 1e6, (double)histogram->max / 1e6);
}

#endif
