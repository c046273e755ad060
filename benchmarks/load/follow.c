/* Opens many gRPC streams from one thread, reads their messages, and measures the age of each.
 *
 * The requests come from a file: for each of them four bytes of length (little-endian) and the body of the call, gRPC
 * framing included. Stream number i sends request number i, modulo their number, and closes its side.
 *
 * Events are written to standard output, a JSON object a line: "open" when every stream has received as many messages as
 * `--first` says (or the time for that is up), "start" and "end" around the seconds that are measured. Without seconds to
 * measure, the end is the end of all streams. Streams stay open, and are read, until standard input, a pipe, ends; then
 * the program ends.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
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

/* The head of a message: what comes before the results, the time of the change included. */
enum { HEAD = 512, FRAME = 5, READ = 1 << 18, MAX_PATH = 4 };

struct body {
    const uint8_t *bytes;
    size_t length;
};

struct stream {
    struct connection *connection;
    const struct body *body;
    size_t sent;
    uint8_t frame[FRAME];
    uint8_t frame_length;
    uint32_t left;         /* bytes of the present message that have not come yet */
    uint32_t head_length;  /* bytes of it that are kept */
    uint8_t head[HEAD];
    uint32_t messages;
    bool status_ok;
};

struct connection {
    int socket;
    nghttp2_session *session;
    const uint8_t *unsent;
    ssize_t unsent_length;
    int open; /* streams */
    bool stalled, closed, waits_to_write;
};

static struct {
    const char *host, *path;
    uint16_t port;
    int streams, connections, stalled;
    uint32_t first;
    double seconds, settle, open_timeout;
    int age_path[MAX_PATH], age_path_length;
} options = {.host = "127.0.0.1", .streams = 1, .connections = 1, .first = 1, .seconds = 0, .settle = 1, .open_timeout = 60};

static struct body *bodies;
static size_t number_of_bodies;
static int epoll;

static struct {
    uint64_t messages, bytes;
    int answered, ended_ok, ended_otherwise, open;
    bool measuring;
    struct histogram ages, first;
} seen;

static int64_t started;

static void fail(const char *what) {
    fprintf(stderr, "follow: %s: %s\n", what, errno ? strerror(errno) : "failed");
    exit(1);
}

/* --- The time of the change, out of a message ------------------------------------------------------------------- */

static bool varint(const uint8_t **at, const uint8_t *end, uint64_t *value) {
    *value = 0;
    for (int shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) return true;
    }
    return false;
}

/* Find a field of a message: its varint, or its bytes, as far as they are there. */
static bool find(const uint8_t **at, const uint8_t **end, int wanted, uint64_t *number) {
    while (*at < *end) {
        uint64_t key, value;
        if (!varint(at, *end, &key)) return false;
        int field = (int)(key >> 3), kind = (int)(key & 7);
        if (kind == 0) {
            if (!varint(at, *end, &value)) return false;
            if (field == wanted) {
                *number = value;
                return true;
            }
        } else if (kind == 2) {
            if (!varint(at, *end, &value)) return false;
            if (field == wanted) {
                if (value < (uint64_t)(*end - *at)) *end = *at + value;
                return true;
            }
            if (value > (uint64_t)(*end - *at)) return false;
            *at += value;
        } else if (kind == 1 || kind == 5) {
            size_t width = kind == 1 ? 8 : 4;
            if ((size_t)(*end - *at) < width) return false;
            *at += width;
        } else {
            return false;
        }
    }
    return false;
}

/* A google.protobuf.Timestamp at a path of fields, in nanoseconds; 0 if there is none. */
static int64_t time_of_change(const uint8_t *message, size_t length) {
    const uint8_t *at = message, *end = message + length;
    uint64_t seconds = 0, nanoseconds = 0;
    for (int level = 0; level < options.age_path_length; level++)
        if (!find(&at, &end, options.age_path[level], &seconds)) return 0;
    if (!find(&at, &end, 1, &seconds)) return 0;
    find(&at, &end, 2, &nanoseconds);
    return (int64_t)(seconds * 1000000000 + nanoseconds);
}

/* --- Messages, out of the data of a stream ----------------------------------------------------------------------- */

static void message_arrived(struct stream *stream, const uint8_t *head, size_t length) {
    if (++stream->messages == options.first) {
        seen.answered++;
        record(&seen.first, now() - started);
    }
    if (!seen.measuring || stream->connection->stalled) return;
    seen.messages++;
    if (options.age_path_length) {
        int64_t changed = time_of_change(head, length);
        if (changed) record(&seen.ages, now() - changed);
    }
}

static void take(struct stream *stream, const uint8_t *data, size_t length) {
    while (length > 0) {
        if (stream->frame_length < FRAME) {
            stream->frame[stream->frame_length++] = *data++;
            length--;
            if (stream->frame_length < FRAME) continue;
            const uint8_t *frame = stream->frame;
            stream->left = (uint32_t)frame[1] << 24 | (uint32_t)frame[2] << 16 | (uint32_t)frame[3] << 8 | frame[4];
            stream->head_length = 0;
        }
        if (stream->head_length == 0 && stream->left <= length) { /* all of it is here: no copy */
            uint32_t whole = stream->left;
            message_arrived(stream, data, whole < HEAD ? whole : HEAD);
            data += whole;
            length -= whole;
            stream->left = 0;
            stream->frame_length = 0;
            continue;
        }
        size_t part = stream->left < length ? stream->left : length;
        size_t kept = HEAD - stream->head_length < part ? HEAD - stream->head_length : part;
        memcpy(stream->head + stream->head_length, data, kept);
        stream->head_length += (uint32_t)kept;
        stream->left -= (uint32_t)part;
        data += part;
        length -= part;
        if (stream->left == 0) {
            message_arrived(stream, stream->head, stream->head_length);
            stream->frame_length = 0;
        }
    }
}

/* --- HTTP/2 ------------------------------------------------------------------------------------------------------- */

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t length, void *user) {
    (void)flags, (void)user;
    struct stream *stream = nghttp2_session_get_stream_user_data(session, id);
    if (seen.measuring && !stream->connection->stalled) seen.bytes += length;
    take(stream, data, length);
    return 0;
}

static int on_header(
    nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_length, const uint8_t *value,
    size_t length, uint8_t flags, void *user
) {
    (void)flags, (void)user;
    if (name_length == 11 && memcmp(name, "grpc-status", 11) == 0) {
        struct stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
        stream->status_ok = length == 1 && value[0] == '0';
    }
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *user) {
    (void)user;
    struct stream *stream = nghttp2_session_get_stream_user_data(session, id);
    seen.open--;
    stream->connection->open--;
    if (error == 0 && stream->status_ok)
        seen.ended_ok++;
    else
        seen.ended_otherwise++;
    return 0;
}

static ssize_t send_body(
    nghttp2_session *session, int32_t id, uint8_t *buffer, size_t length, uint32_t *flags, nghttp2_data_source *source,
    void *user
) {
    (void)session, (void)id, (void)user;
    struct stream *stream = source->ptr;
    size_t left = stream->body->length - stream->sent, part = left < length ? left : length;
    memcpy(buffer, stream->body->bytes + stream->sent, part);
    stream->sent += part;
    if (part == left) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)part;
}

static nghttp2_nv header(const char *name, const char *value) {
    nghttp2_nv pair = {
        (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
        NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
    return pair;
}

static void open_stream(struct connection *connection, struct stream *stream, int number) {
    nghttp2_nv headers[] = {
        header(":method", "POST"), header(":scheme", "http"), header(":path", options.path),
        header(":authority", options.host), header("te", "trailers"), header("content-type", "application/grpc"),
    };
    stream->connection = connection;
    stream->body = &bodies[(size_t)number % number_of_bodies];
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = send_body};
    int32_t id = nghttp2_submit_request(connection->session, NULL, headers, 6, &provider, stream);
    if (id < 0) fail(nghttp2_strerror(id));
    seen.open++;
    connection->open++;
}

static void close_connection(struct connection *connection) {
    connection->closed = true;
    seen.open -= connection->open;
    seen.ended_otherwise += connection->open;
    close(connection->socket);
    nghttp2_session_del(connection->session);
    connection->session = NULL;
}

static void listen_for(struct connection *connection, bool write) {
    if (write == connection->waits_to_write) return;
    connection->waits_to_write = write;
    struct epoll_event event = {.events = EPOLLIN | (write ? EPOLLOUT : 0), .data.ptr = connection};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, connection->socket, &event) < 0) fail("epoll");
}

static void flush(struct connection *connection) {
    for (;;) {
        if (connection->unsent_length == 0) {
            connection->unsent_length = nghttp2_session_mem_send(connection->session, &connection->unsent);
            if (connection->unsent_length < 0) fail(nghttp2_strerror((int)connection->unsent_length));
            if (connection->unsent_length == 0) return listen_for(connection, false);
        }
        ssize_t sent = send(
            connection->socket, connection->unsent, (size_t)connection->unsent_length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EAGAIN) return listen_for(connection, true);
            return close_connection(connection);
        }
        connection->unsent += sent;
        connection->unsent_length -= sent;
    }
}

static void receive(struct connection *connection) {
    static uint8_t buffer[READ];
    ssize_t length = recv(connection->socket, buffer, sizeof buffer, MSG_DONTWAIT);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (length <= 0) return close_connection(connection);
    ssize_t taken = nghttp2_session_mem_recv(connection->session, buffer, (size_t)length);
    if (taken < 0) {
        fprintf(stderr, "follow: %s\n", nghttp2_strerror((int)taken));
        close_connection(connection);
    }
}

static void start_connection(struct connection *connection, nghttp2_session_callbacks *callbacks, bool stalled) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(options.port)};
    if (inet_pton(AF_INET, options.host, &address.sin_addr) != 1) fail("the host must be an IPv4 address");
    connection->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    setsockopt(connection->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(connection->socket, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
    connection->stalled = stalled;

    nghttp2_option *option;
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, stalled); /* a stalled reader grants no more than 64 KiB */
    if (nghttp2_session_client_new2(&connection->session, callbacks, connection, option)) fail("nghttp2");
    nghttp2_option_del(option);
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, stalled ? 65535 : 4 << 20},
    };
    nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings, 2);
    if (!stalled) nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, 64 << 20);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection->socket, &event) < 0) fail("epoll");
}

/* --- The run of the program --------------------------------------------------------------------------------------- */

static void read_bodies(const char *name) {
    FILE *file = fopen(name, "rb");
    if (!file) fail(name);
    fseek(file, 0, SEEK_END);
    size_t size = (size_t)ftell(file), at = 0;
    rewind(file);
    uint8_t *all = malloc(size + 1);
    if (fread(all, 1, size, file) != size) fail(name);
    fclose(file);
    bodies = calloc(size / 4 + 1, sizeof *bodies);
    while (at + 4 <= size) {
        uint32_t length;
        memcpy(&length, all + at, 4);
        if (length > size - at - 4) fail("the requests are cut off");
        bodies[number_of_bodies++] = (struct body){all + at + 4, length};
        at += 4 + length;
    }
    if (number_of_bodies == 0) fail("no requests");
}

static void work_until(int64_t until, bool (*done)(void)) {
    struct epoll_event events[256];
    while (!done()) {
        int64_t left = until - now();
        if (left <= 0) return;
        int count = epoll_wait(epoll, events, 256, left < 1000000000 ? (int)(left / 1000000) + 1 : 1000);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == NULL) exit(0); /* standard input has ended */
            if (!connection->closed && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(connection);
            if (!connection->closed) flush(connection);
        }
    }
}

static int expected;
static bool all_answered(void) { return seen.answered + seen.ended_otherwise >= expected; }
static bool all_ended(void) { return seen.open == 0; }
static bool never(void) { return false; }

static void read_options(int count, char **arguments) {
    static const struct option names[] = {
        {"port", 1, 0, 'p'},    {"path", 1, 0, 'P'},    {"requests", 1, 0, 'r'},     {"streams", 1, 0, 'n'},
        {"connections", 1, 0, 'c'}, {"seconds", 1, 0, 's'}, {"settle", 1, 0, 'w'}, {"open-timeout", 1, 0, 'o'},
        {"stalled", 1, 0, 'x'}, {"age", 1, 0, 'a'},     {"first", 1, 0, 'f'}, {0, 0, 0, 0},
    };
    int option;
    while ((option = getopt_long(count, arguments, "", names, NULL)) != -1) {
        switch (option) {
        case 'p': options.port = (uint16_t)atoi(optarg); break;
        case 'P': options.path = optarg; break;
        case 'r': read_bodies(optarg); break;
        case 'n': options.streams = atoi(optarg); break;
        case 'c': options.connections = atoi(optarg); break;
        case 's': options.seconds = atof(optarg); break;
        case 'w': options.settle = atof(optarg); break;
        case 'o': options.open_timeout = atof(optarg); break;
        case 'f': options.first = (uint32_t)atoi(optarg); break;
        case 'x': options.stalled = atoi(optarg); break;
        case 'a':
            for (char *part = strtok(optarg, ","); part && options.age_path_length < MAX_PATH; part = strtok(NULL, ","))
                options.age_path[options.age_path_length++] = atoi(part);
            break;
        default: exit(2);
        }
    }
    if (!options.port || !options.path || !bodies) {
        fprintf(
            stderr, "usage: follow --port PORT --path /SERVICE/METHOD --requests FILE [--streams N] [--connections N]\n"
                    "              [--stalled N] [--first N] [--age FIELD,FIELD] [--settle S] [--seconds S] [--open-timeout S]\n");
        exit(2);
    }
}

int main(int count, char **arguments) {
    read_options(count, arguments);
    setvbuf(stdout, NULL, _IOLBF, 0);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input) < 0) fail("standard input must be a pipe");
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);

    /* Stalled streams have a connection each: the window of a connection is shared by its streams. */
    int connections = options.connections + options.stalled;
    expected = options.streams + options.stalled;
    struct connection *connection = calloc((size_t)connections, sizeof *connection);
    struct stream *stream = calloc((size_t)expected, sizeof *stream);
    started = now();
    for (int i = 0; i < connections; i++) start_connection(&connection[i], callbacks, i >= options.connections);
    for (int i = 0; i < options.streams; i++) open_stream(&connection[i % options.connections], &stream[i], i);
    for (int i = 0; i < options.stalled; i++)
        open_stream(&connection[options.connections + i], &stream[options.streams + i], i);
    if (options.seconds == 0) seen.measuring = true;
    for (int i = 0; i < connections; i++) flush(&connection[i]);

    work_until(now() + (int64_t)(options.open_timeout * 1e9), all_answered);
    printf("{\"event\":\"open\",\"seconds\":%.6f,\"answered\":%d", (double)(now() - started) / 1e9, seen.answered);
    printf(",\"failed\":%d", seen.ended_otherwise);
    tell_milliseconds("first_ms", &seen.first);
    printf("}\n");

    if (options.seconds > 0) {
        work_until(now() + (int64_t)(options.settle * 1e9), never);
        started = now();
        seen.measuring = true;
        printf("{\"event\":\"start\"}\n");
        double before = cpu_seconds();
        work_until(now() + (int64_t)(options.seconds * 1e9), never);
        double seconds = (double)(now() - started) / 1e9, cpu = cpu_seconds() - before;
        printf("{\"event\":\"end\",\"seconds\":%.6f,\"messages\":%lu,\"bytes\":%lu", seconds, seen.messages, seen.bytes);
        printf(",\"open\":%d,\"failed\":%d,\"cpu_seconds\":%.6f", seen.open, seen.ended_otherwise, cpu);
    } else {
        work_until(now() + (int64_t)(options.open_timeout * 1e9), all_ended);
        double seconds = (double)(now() - started) / 1e9;
        printf("{\"event\":\"end\",\"seconds\":%.6f,\"messages\":%lu,\"bytes\":%lu", seconds, seen.messages, seen.bytes);
        printf(",\"ended_ok\":%d,\"failed\":%d", seen.ended_ok, seen.ended_otherwise);
        printf(",\"open\":%d,\"cpu_seconds\":%.6f", seen.open, cpu_seconds());
    }
    tell_milliseconds("age_ms", &seen.ages);
    printf("}\n");
    seen.measuring = false;
    work_until(INT64_MAX, never);
}
