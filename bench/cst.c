/* cst: a streaming Lambda custom runtime, the client that reads its streams, and a raw copy to compare with.
 * Without arguments it is the runtime: AWS_LAMBDA_RUNTIME_API=host:port. The event {"n":N} asks for N chunks of 64 KB;
 * the first one begins with the time (CLOCK_MONOTONIC, nanoseconds) at which it was sent.
 * read PORT PATH N [STREAMS]: invoke and read; prints one JSON object per stream: microseconds from that time to the
 *     byte's arrival, bytes, seconds from the request to the end.
 * copy N: the same chunks from one process to another over a loopback connection; prints bytes and seconds. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#define CHUNK 65536
#define READ 262144
static char buf[READ + 1];
static char chunk[CHUNK];

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static void die(const char *what) {
    perror(what);
    exit(1);
}
static int connect_to(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (void *)&a, sizeof a))
        die("cst: connect");
    return fd;
}
static void send_all(int fd, const char *p, size_t n) {
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            exit(0);
        p += k;
        n -= k;
    }
}
/* One chunk with its framing in one call. */
static void send_chunk(int fd) {
    char head[] = "10000\r\n", tail[] = "\r\n";
    struct iovec v[3] = {{head, 7}, {chunk, CHUNK}, {tail, 2}};
    size_t left = 7 + CHUNK + 2;
    int i = 0;
    while (left) {
        struct msghdr m = {.msg_iov = v + i, .msg_iovlen = 3 - i};
        ssize_t k = sendmsg(fd, &m, MSG_NOSIGNAL);
        if (k <= 0)
            exit(0);
        left -= k;
        while (i < 3 && (size_t)k >= v[i].iov_len)
            k -= v[i++].iov_len;
        if (i < 3) {
            v[i].iov_base = (char *)v[i].iov_base + k;
            v[i].iov_len -= k;
        }
    }
}
static void stamp(void) { snprintf(chunk, 40, "TIME%020" PRIu64 "\n", now()); }

/* A response of the Runtime API with its whole body, in buf. Returns where the body starts. */
static size_t read_answer(int fd) {
    size_t len = 0;
    for (;;) {
        ssize_t k = recv(fd, buf + len, READ - len, 0);
        if (k <= 0)
            exit(0);
        len += k;
        buf[len] = 0;
        char *end = strstr(buf, "\r\n\r\n"), *size = strcasestr(buf, "content-length:");
        if (end && len >= (size_t)(end - buf) + 4 + (size && size < end ? strtoul(size + 15, NULL, 10) : 0))
            return end - buf + 4;
    }
}
static int run_runtime(const char *api) {
    int fd = connect_to(atoi(strrchr(api, ':') + 1));
    char head[1024], id[80];
    for (;;) {
        send_all(fd, head, sprintf(head, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: %s\r\n\r\n", api));
        size_t body = read_answer(fd);
        char *given = strcasestr(buf, "lambda-runtime-aws-request-id:"), *n = strstr(buf + body, "\"n\":");
        if (!given || sscanf(given + 30, " %79[^\r]", id) != 1)
            return 1;
        long count = n ? atol(n + 4) : 1;
        send_all(fd, head,
                 sprintf(head,
                         "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: %s\r\n"
                         "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
                         "Content-Type: application/octet-stream\r\n"
                         "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n",
                         id, api));
        stamp();
        for (long i = 0; i < count; i++)
            send_chunk(fd);
        send_all(fd, "0\r\n\r\n", 5);
        read_answer(fd);
    }
}
/* Reads until the end of the answer, which are five bytes that its head may end with as well. */
static int run_reader(int port, const char *path, long n, int streams) {
    int fd = connect_to(port);
    struct timeval patience = {.tv_sec = 60};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char request[1024], body[40];
    sprintf(body, "{\"n\":%ld}", n);
    int size = snprintf(request, sizeof request,
                        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Amz-Invocation-Type: RequestResponse\r\n"
                        "Content-Length: %zu\r\n\r\n%s",
                        path, port, strlen(body), body);
    while (streams--) {
        uint64_t begin = now(), first = 0, total = 0;
        send_all(fd, request, size);
        char end[5] = {0};
        while (total < (uint64_t)n * CHUNK || memcmp(end, "0\r\n\r\n", 5)) {
            ssize_t k = recv(fd, buf, READ, 0);
            if (k <= 0)
                die("cst: the stream ended early");
            if (!first) {
                if (!total && strncmp(buf, "HTTP/1.1 200", 12)) {
                    fprintf(stderr, "cst: %.300s\n", buf);
                    return 1;
                }
                char *mark = memmem(buf, k, "TIME", 4);
                if (mark && mark + 24 <= buf + k)
                    first = now() - strtoull(mark + 4, NULL, 10);
            }
            total += k;
            if (k >= 5)
                memcpy(end, buf + k - 5, 5);
            else {
                memmove(end, end + k, 5 - k);
                memcpy(end + 5 - k, buf, k);
            }
        }
        if (!first || total < (uint64_t)n * CHUNK) {
            fprintf(stderr, "cst: %" PRIu64 " bytes of %ld chunks\n", total, n);
            return 1;
        }
        printf("{\"first_us\":%.1f,\"bytes\":%" PRIu64 ",\"seconds\":%.6f}\n", first / 1e3, total, (now() - begin) / 1e9);
    }
    return 0;
}
static int run_copy(long n) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t size = sizeof a;
    inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (void *)&a, sizeof a) || listen(listener, 1) || getsockname(listener, (void *)&a, &size))
        die("cst: listen");
    pid_t child = fork();
    if (!child) {
        int fd = connect_to(ntohs(a.sin_port));
        while (n--)
            send_chunk(fd);
        _exit(0);
    }
    int fd = accept(listener, NULL, NULL);
    uint64_t begin = now(), total = 0;
    ssize_t k;
    while ((k = recv(fd, buf, READ, 0)) > 0)
        total += k;
    printf("{\"bytes\":%" PRIu64 ",\"seconds\":%.6f}\n", total, (now() - begin) / 1e9);
    waitpid(child, NULL, 0);
    return 0;
}
int main(int ac, char **av) {
    memset(chunk, 'x', CHUNK);
    const char *api = getenv("AWS_LAMBDA_RUNTIME_API");
    if (ac >= 5 && !strcmp(av[1], "read"))
        return run_reader(atoi(av[2]), av[3], atol(av[4]), ac > 5 ? atoi(av[5]) : 1);
    if (ac >= 3 && !strcmp(av[1], "copy"))
        return run_copy(atol(av[2]));
    if (ac == 1 && api && strchr(api, ':'))
        return run_runtime(api);
    fprintf(stderr, "usage: cst read PORT PATH N [STREAMS] | cst copy N | AWS_LAMBDA_RUNTIME_API=host:port cst\n");
    return 2;
}
