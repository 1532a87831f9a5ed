/* crt: minimal Lambda custom runtime in C (echo). AWS_LAMBDA_RUNTIME_API=host:port or argv[1].
 * -P: pipeline "response + next" in one write (what an optimised runtime of our own could do). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
static int fd;
static char *buf;
static size_t len, cap;
static void conn_to(const char *hp) {
    char h[64];
    strncpy(h, hp, 63);
    h[63] = 0;
    char *c = strrchr(h, ':');
    int port = c ? atoi(c + 1) : 80;
    if (c)
        *c = 0;
    if (!strcmp(h, "localhost"))
        strcpy(h, "127.0.0.1");
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, h, &a.sin_addr);
    fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (void *)&a, sizeof a)) {
        perror("crt connect");
        exit(1);
    }
}
static void wr(const char *p, size_t n) {
    while (n) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            exit(0);
        p += k;
        n -= k;
    }
}
/* read one response; returns header length; total in *tot */
static size_t rd(size_t *tot) {
    size_t h = 0, need = 0;
    for (;;) {
        if (!h && len) {
            char *p = memmem(buf, len, "\r\n\r\n", 4);
            if (p) {
                h = p - buf + 4;
                *p = 0;
                char *q = buf;
                long cl = 0;
                while ((q = strstr(q, "\r\n"))) {
                    q += 2;
                    if (!strncasecmp(q, "content-length:", 15))
                        cl = atol(q + 15);
                }
                *p = '\r';
                need = h + cl;
            }
        }
        if (h && len >= need) {
            *tot = need;
            return h;
        }
        if (cap - len < 65536) {
            cap = cap * 2 + 65536;
            buf = realloc(buf, cap + 1);
        }
        ssize_t r = recv(fd, buf + len, cap - len, 0);
        if (r <= 0)
            exit(0);
        len += r;
    }
}
static void eat(size_t n) {
    memmove(buf, buf + n, len - n);
    len -= n;
}
int main(int ac, char **av) {
    int pipe = 0;
    const char *api = getenv("AWS_LAMBDA_RUNTIME_API");
    for (int i = 1; i < ac; i++) {
        if (!strcmp(av[i], "-P"))
            pipe = 1;
        else if (strchr(av[i], ':'))
            api = av[i];
    }
    cap = 1 << 17;
    buf = malloc(cap + 1);
    conn_to(api);
    char nx[256];
    int nl = sprintf(nx, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: %s\r\n\r\n", api);
    char *out = malloc(1 << 20);
    size_t outcap = 1 << 20;
    wr(nx, nl);
    for (;;) {
        size_t tot, h = rd(&tot);
        buf[h - 1] = 0;
        char *id = strcasestr(buf, "lambda-runtime-aws-request-id:");
        if (!id) {
            fprintf(stderr, "crt: no id: %.200s\n", buf);
            exit(1);
        }
        id += 30;
        while (*id == ' ')
            id++;
        char rid[80];
        int i = 0;
        while (i < 79 && id[i] != '\r' && id[i]) {
            rid[i] = id[i];
            i++;
        }
        rid[i] = 0;
        size_t bl = tot - h;
        if (outcap < bl + 1024) {
            outcap = bl + 1024;
            out = realloc(out, outcap);
        }
        int n = sprintf(out,
                        "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: %s\r\nContent-Type: "
                        "application/json\r\nContent-Length: %zu\r\n\r\n",
                        rid, api, bl);
        memcpy(out + n, buf + h, bl);
        n += bl;
        eat(tot);
        if (pipe) {
            memcpy(out + n, nx, nl);
            wr(out, n + nl);
            rd(&tot);
            eat(tot);
        } else {
            wr(out, n);
            rd(&tot);
            eat(tot);
            wr(nx, nl);
        }
    }
}
