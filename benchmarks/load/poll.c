/* Polls one JSON-RPC method over HTTP/1.1 from many connections, each at its own regular times, and measures how old a
 * change is when a poll first shows it: by the member "createdAt" of the answer, which the server sets to the time of the
 * change.
 *
 * A connection that has not been answered when its next time comes lets that time pass. Output as that of follow.c.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"

enum { ANSWER = 4096 };

struct poller {
    int socket;
    bool waiting, answered;
    int64_t due, sent_at, shown;
    size_t length;
    char answer[ANSWER];
};

static struct {
    uint16_t port;
    const char *body;
    int pollers;
    double interval, seconds, settle, open_timeout;
} options = {.pollers = 1, .interval = 0.1, .seconds = 5, .settle = 1, .open_timeout = 60};

static char request[4096];
static size_t request_length;
static int epoll;
static bool measuring;
static struct {
    uint64_t messages, bytes, late, changes;
    int answered, failed;
    struct histogram ages, first, round_trips;
} seen;
static int64_t started;

static void fail(const char *what) {
    fprintf(stderr, "poll: %s: %s\n", what, errno ? strerror(errno) : "failed");
    exit(1);
}

/* The time at "createdAt":"2025-01-15T10:30:00.250Z", in nanoseconds; 0 if there is none. */
static int64_t time_of_change(const char *answer) {
    const char *at = strstr(answer, "\"createdAt\":\"");
    struct tm day = {0};
    if (!at || !(at = strptime(at + 13, "%Y-%m-%dT%H:%M:%S", &day))) return 0;
    int64_t nanoseconds = 0, unit = 100000000;
    if (*at == '.')
        for (at++; *at >= '0' && *at <= '9'; at++, unit /= 10) nanoseconds += (*at - '0') * unit;
    return (int64_t)timegm(&day) * 1000000000 + nanoseconds;
}

static void send_poll(struct poller *poller) {
    poller->sent_at = now();
    poller->length = 0;
    poller->waiting = true;
    if (send(poller->socket, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) fail("send");
}

static void answer_arrived(struct poller *poller) {
    int64_t time = now(), changed = time_of_change(poller->answer);
    poller->waiting = false;
    if (!poller->answered) {
        poller->answered = true;
        seen.answered++;
        record(&seen.first, time - started);
    }
    if (!changed) seen.failed++;
    if (measuring) {
        seen.messages++;
        seen.bytes += poller->length;
        record(&seen.round_trips, time - poller->sent_at);
        if (changed != poller->shown) {
            seen.changes++;
            record(&seen.ages, time - changed);
        }
    }
    poller->shown = changed;
}

static void receive(struct poller *poller) {
    ssize_t length = recv(poller->socket, poller->answer + poller->length, ANSWER - 1 - poller->length, MSG_DONTWAIT);
    if (length < 0 && errno == EAGAIN) return;
    if (length <= 0) fail("the server has closed a connection, or an answer is too long");
    poller->length += (size_t)length;
    poller->answer[poller->length] = 0;
    const char *end = strstr(poller->answer, "\r\n\r\n"), *size = strcasestr(poller->answer, "content-length:");
    if (end && size && poller->length >= (size_t)(end + 4 - poller->answer) + strtoul(size + 15, NULL, 10))
        answer_arrived(poller);
}

static bool all_answered(void) { return seen.answered == options.pollers; }
static bool never(void) { return false; }

/* Pollers are due in the order of their numbers, one after the other, again and again. */
static void work_until(struct poller *pollers, int64_t until, bool (*done)(void)) {
    static int next;
    struct epoll_event events[256];
    int64_t time;
    while ((time = now()) < until && !done()) {
        for (; pollers[next].due <= time; next = (next + 1) % options.pollers) {
            if (!pollers[next].waiting)
                send_poll(&pollers[next]);
            else if (measuring)
                seen.late++;
            pollers[next].due += (int64_t)(options.interval * 1e9);
        }
        int64_t left = pollers[next].due < until ? pollers[next].due - time : until - time;
        int count = epoll_wait(epoll, events, 256, left > 1000000 ? (int)(left / 1000000) : 0);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == NULL) exit(0); /* standard input has ended */
            receive(events[i].data.ptr);
        }
    }
}

int main(int count, char **arguments) {
    static const struct option names[] = {
        {"port", 1, 0, 'p'},   {"body", 1, 0, 'b'},   {"pollers", 1, 0, 'n'},      {"interval", 1, 0, 'i'},
        {"seconds", 1, 0, 's'}, {"settle", 1, 0, 'w'}, {"open-timeout", 1, 0, 'o'}, {0, 0, 0, 0},
    };
    int option;
    while ((option = getopt_long(count, arguments, "", names, NULL)) != -1) {
        switch (option) {
        case 'p': options.port = (uint16_t)atoi(optarg); break;
        case 'b': options.body = optarg; break;
        case 'n': options.pollers = atoi(optarg); break;
        case 'i': options.interval = atof(optarg); break;
        case 's': options.seconds = atof(optarg); break;
        case 'w': options.settle = atof(optarg); break;
        case 'o': options.open_timeout = atof(optarg); break;
        default: exit(2);
        }
    }
    if (!options.port || !options.body) {
        fprintf(stderr, "usage: poll --port PORT --body JSON [--pollers N] [--interval S] [--settle S] [--seconds S]\n");
        exit(2);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    request_length = (size_t)snprintf(
        request, sizeof request,
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        strlen(options.body), options.body);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input) < 0) fail("standard input must be a pipe");
    struct poller *pollers = calloc((size_t)options.pollers, sizeof *pollers);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(options.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    started = now();
    for (int i = 0; i < options.pollers; i++) {
        struct poller *poller = &pollers[i];
        poller->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int on = 1;
        setsockopt(poller->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (connect(poller->socket, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
        poller->due = started + (int64_t)(options.interval * 1e9 * (i + 1) / options.pollers);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = poller};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, poller->socket, &event) < 0) fail("epoll");
    }
    work_until(pollers, now() + (int64_t)(options.open_timeout * 1e9), all_answered);
    printf("{\"event\":\"open\",\"seconds\":%.6f,\"answered\":%d", (double)(now() - started) / 1e9, seen.answered);
    printf(",\"failed\":%d", seen.failed);
    tell_milliseconds("first_ms", &seen.first);
    printf("}\n");
    work_until(pollers, now() + (int64_t)(options.settle * 1e9), never);
    started = now();
    measuring = true;
    printf("{\"event\":\"start\"}\n");
    double before = cpu_seconds();
    work_until(pollers, now() + (int64_t)(options.seconds * 1e9), never);
    double seconds = (double)(now() - started) / 1e9, cpu = cpu_seconds() - before;
    printf("{\"event\":\"end\",\"seconds\":%.6f,\"messages\":%lu,\"bytes\":%lu", seconds, seen.messages, seen.bytes);
    printf(",\"changes\":%lu,\"late\":%lu,\"failed\":%d", seen.changes, seen.late, seen.failed);
    printf(",\"cpu_seconds\":%.6f", cpu);
    tell_milliseconds("age_ms", &seen.ages);
    tell_milliseconds("round_trip_ms", &seen.round_trips);
    printf("}\n");
    measuring = false;
    work_until(pollers, INT64_MAX, never);
}
