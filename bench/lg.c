/* lg: tiny epoll HTTP/1.1 keep-alive load generator (one thread).
 * usage: lg -p PORT [-h 127.0.0.1] [-c CONNS] [-d SECONDS | -n REQUESTS] [-u PATH]
 *           [-m METHOD] [-b BODYFILE | -B BODYBYTES] [-H "Name: v"]...
 * prints one JSON object with latency percentiles (microseconds) and rps. Loopback only by design. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
typedef struct {
    int fd;
    size_t sent;
    char *buf;
    size_t len, cap;
    long body;
    int chunked;
    size_t hdr;
    uint64_t t0;
    int closing;
} conn;
static struct sockaddr_in addr;
static char *req;
static size_t reqlen;
static int ep;
static uint32_t *lat;
static size_t nlat, caplat = 0;
static long errs, recon, started, maxreq = -1;
static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static void die(const char *s) {
    perror(s);
    exit(1);
}
static void con(conn *c) {
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    if (connect(c->fd, (void *)&addr, sizeof addr))
        die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
}
static void flushreq(conn *c) {
    while (c->sent < reqlen) {
        ssize_t k = send(c->fd, req + c->sent, reqlen - c->sent, MSG_NOSIGNAL);
        if (k < 0) {
            if (errno == EAGAIN) {
                struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
                epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
                return;
            }
            return;
        }
        c->sent += k;
    }
}
static void start(conn *c) {
    if (maxreq >= 0 && started >= maxreq)
        return;
    started++;
    c->sent = 0;
    c->len = 0;
    c->hdr = 0;
    c->body = -1;
    c->chunked = 0;
    c->closing = 0;
    c->t0 = now();
    flushreq(c);
}
static int done(conn *c) {
    if (!c->hdr) {
        char *p = memmem(c->buf, c->len, "\r\n\r\n", 4);
        if (!p)
            return 0;
        c->hdr = p - c->buf + 4;
        *p = 0;
        char *q = c->buf;
        while ((q = strstr(q, "\r\n"))) {
            q += 2;
            if (!strncasecmp(q, "content-length:", 15))
                c->body = atol(q + 15);
            else if (!strncasecmp(q, "transfer-encoding:", 18) && strcasestr(q, "chunked"))
                c->chunked = 1;
            else if (!strncasecmp(q, "connection: close", 17))
                c->closing = 1;
        }
        *p = '\r';
    }
    if (c->chunked)
        return c->len - c->hdr >= 5 && !memcmp(c->buf + c->len - 5, "0\r\n\r\n", 5);
    if (c->body < 0)
        return c->closing ? 0 : 1;
    return (long)(c->len - c->hdr) >= c->body;
}
static int cmp(const void *a, const void *b) {
    uint32_t x = *(uint32_t *)a, y = *(uint32_t *)b;
    return x < y ? -1 : x > y;
}
int main(int ac, char **av) {
    int port = 0, nc = 1, o;
    double dur = 3;
    char *host = "127.0.0.1", *path = "/2015-03-31/functions/f/invocations", *meth = "POST";
    char hs[4096] = "";
    char *body = strdup("{\"k\":1}");
    size_t bl = 7;
    int show = 0;
    while ((o = getopt(ac, av, "p:h:c:d:n:u:m:b:B:H:s")) > 0)
        switch (o) {
        case 'p':
            port = atoi(optarg);
            break;
        case 'h':
            host = optarg;
            break;
        case 'c':
            nc = atoi(optarg);
            break;
        case 'd':
            dur = atof(optarg);
            break;
        case 'n':
            maxreq = atol(optarg);
            break;
        case 'u':
            path = optarg;
            break;
        case 'm':
            meth = optarg;
            break;
        case 's':
            show = 1;
            break;
        case 'B': {
            long n = atol(optarg);
            free(body);
            body = malloc(n + 16);
            bl = n;
            if (n < 8) {
                strcpy(body, "{}");
                bl = 2;
            } else {
                memset(body, 'a', n);
                memcpy(body, "{\"k\":\"", 6);
                memcpy(body + n - 2, "\"}", 2);
            }
            break;
        }
        case 'b': {
            FILE *f = fopen(optarg, "r");
            if (!f)
                die("body");
            fseek(f, 0, SEEK_END);
            bl = ftell(f);
            rewind(f);
            body = malloc(bl + 1);
            if (fread(body, 1, bl, f) != bl)
                die("read");
            fclose(f);
            break;
        }
        case 'H':
            strcat(hs, optarg);
            strcat(hs, "\r\n");
            break;
        default:
            return 2;
        }
    if (strncmp(host, "127.", 4)) {
        fprintf(stderr, "lg: loopback addresses only\n");
        return 2;
    }
    addr.sin_family = AF_INET;
    addr.sin_port = htons(port);
    inet_pton(AF_INET, host, &addr.sin_addr);
    req = malloc(bl + 8192);
    reqlen =
        sprintf(req, "%s %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n",
                meth, path, host, port, hs, bl);
    memcpy(req + reqlen, body, bl);
    reqlen += bl;
    ep = epoll_create1(0);
    conn *cs = calloc(nc, sizeof *cs);
    caplat = 1 << 16;
    lat = malloc(caplat * 4);
    uint64_t t0 = now(), tend = maxreq >= 0 ? ~0ull : t0 + (uint64_t)(dur * 1e9);
    int stop = 0, active = nc;
    long bytes = 0;
    for (int i = 0; i < nc; i++) {
        cs[i].cap = 1 << 16;
        cs[i].buf = malloc(cs[i].cap + 1);
        con(&cs[i]);
        start(&cs[i]);
    }
    struct epoll_event ev[256];
    while (active > 0) {
        int k = epoll_wait(ep, ev, 256, 30000);
        if (k == 0) {
            fprintf(stderr, "stall 30s\n");
            break;
        }
        for (int i = 0; i < k; i++) {
            conn *c = ev[i].data.ptr;
            if (ev[i].events & EPOLLOUT) {
                struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
                epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
                flushreq(c);
            }
            if (!(ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
                continue;
            if (c->cap - c->len < 4096) {
                c->cap *= 2;
                c->buf = realloc(c->buf, c->cap + 1);
            }
            ssize_t r = recv(c->fd, c->buf + c->len, c->cap - c->len, 0);
            if (r < 0 && errno == EAGAIN)
                continue;
            int fin = 0;
            if (r <= 0) {
                if (c->len && c->hdr && c->body < 0)
                    fin = 1;
                else if (c->len || r < 0 || 1) {
                    if (c->len == 0 && 0) {
                    }
                    errs++;
                }
                close(c->fd);
                recon++;
                con(c);
                if (!fin) {
                    if (stop || (maxreq >= 0 && started >= maxreq)) {
                        active--;
                    } else
                        start(c);
                    continue;
                }
            } else {
                c->len += r;
                fin = done(c);
            }
            if (fin) {
                uint64_t t = now();
                bytes += c->len;
                if (nlat == caplat) {
                    caplat *= 2;
                    lat = realloc(lat, caplat * 4);
                }
                lat[nlat++] = (t - c->t0) / 100; /* 0.1us units */
                if (c->len < 12 || c->buf[9] != '2') {
                    if (!errs++)
                        fprintf(stderr, "non-2xx: %.*s\n", (int)(c->len > 400 ? 400 : c->len), c->buf);
                }
                if (show) {
                    fprintf(stderr, "%.*s\n", (int)(c->len > 1500 ? 1500 : c->len), c->buf);
                    show = 0;
                }
                if (c->closing && r > 0) {
                    close(c->fd);
                    recon++;
                    con(c);
                }
                if (t >= tend)
                    stop = 1;
                if (stop || (maxreq >= 0 && started >= maxreq))
                    active--;
                else
                    start(c);
            }
        }
    }
    double el = (now() - t0) / 1e9;
    qsort(lat, nlat, 4, cmp);
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    double cpu = ru.ru_utime.tv_sec + ru.ru_stime.tv_sec + (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
#define P(q) (nlat ? lat[(size_t)((nlat - 1) * (q))] / 10.0 : 0)
    printf("{\"n\":%zu,\"errors\":%ld,\"reconnects\":%ld,\"secs\":%.3f,\"rps\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%"
           ".1f,\"p999\":%.1f,\"max\":%.1f,\"client_cpu_us\":%.2f}\n",
           nlat, errs, recon, el, nlat / el, P(.5), P(.9), P(.99), P(.999), P(1), nlat ? cpu * 1e6 / nlat : 0);
    return errs ? 3 : 0;
}
