/* crouter: minimal epoll Invoke + Runtime API router in C (one function, in memory): the practical ceiling. usage:
 * crouter PORT */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
typedef struct conn {
    int fd;
    char *buf;
    size_t len, cap;
    struct conn *nextq;
    char *body;
    size_t blen;
} conn;
static int ep;
static conn *idle[4096];
static int nidle;
static conn *qh, *qt;
static conn *pend[65536];
static unsigned ctr;
static void snd(conn *c, const char *p, size_t n) {
    while (n) {
        ssize_t k = send(c->fd, p, n, MSG_NOSIGNAL);
        if (k < 0) {
            if (errno == EAGAIN) {
                usleep(50);
                continue;
            }
            return;
        }
        p += k;
        n -= k;
    }
}
static char *tmp;
static size_t tcap;
static void room(size_t n) {
    if (tcap < n) {
        tcap = n * 2;
        tmp = realloc(tmp, tcap);
    }
}
static void deliver(conn *env, conn *inv) {
    unsigned id = ctr++ & 0xffff;
    pend[id] = inv;
    room(inv->blen + 1024);
    int n = sprintf(
        tmp,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: "
        "8476a536-e9f4-11e8-9739-%012x\r\nLambda-Runtime-Deadline-Ms: "
        "1893456000000\r\nLambda-Runtime-Invoked-Function-Arn: "
        "arn:aws:lambda:us-east-1:123456789012:function:f\r\nLambda-Runtime-Trace-Id: "
        "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1\r\nContent-Length: %zu\r\n\r\n",
        id, inv->blen);
    memcpy(tmp + n, inv->body, inv->blen);
    snd(env, tmp, n + inv->blen);
    free(inv->body);
    inv->body = 0;
}
static void handle(conn *c, size_t h, size_t tot) {
    if (!memcmp(c->buf, "GET ", 4)) {
        if (qh) {
            conn *i = qh;
            qh = i->nextq;
            if (!qh)
                qt = 0;
            deliver(c, i);
        } else
            idle[nidle++] = c;
    } else if (c->buf[6] == '2' && !memcmp(c->buf + 6, "2018", 4)) {
        char *e = strstr(c->buf + 6, "/response");
        unsigned id = strtoul((char[]){e[-4], e[-3], e[-2], e[-1], 0}, 0, 16);
        conn *i = pend[id];
        pend[id] = 0;
        size_t bl = tot - h;
        room(bl + 512);
        int n = sprintf(tmp,
                        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Amz-Executed-Version: "
                        "$LATEST\r\nX-Amzn-RequestId: 8476a536-e9f4-11e8-9739-%012x\r\nContent-Length: %zu\r\n\r\n",
                        id, bl);
        memcpy(tmp + n, c->buf + h, bl);
        if (i)
            snd(i, tmp, n + bl);
        static const char ok[] = "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: "
                                 "16\r\n\r\n{\"status\":\"OK\"}\n";
        snd(c, ok, sizeof ok - 1);
    } else {
        c->blen = tot - h;
        c->body = malloc(c->blen + 1);
        memcpy(c->body, c->buf + h, c->blen);
        if (nidle)
            deliver(idle[--nidle], c);
        else {
            c->nextq = 0;
            if (qt)
                qt->nextq = c;
            else
                qh = c;
            qt = c;
        }
    }
}
int main(int ac, char **av) {
    int l = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, 4);
    struct sockaddr_in s = {
        .sin_family = AF_INET, .sin_port = htons(atoi(av[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(l, (void *)&s, sizeof s))
        return perror("bind"), 1;
    listen(l, 1024);
    ep = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = 0}, ev[128];
    epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
    for (;;) {
        int k = epoll_wait(ep, ev, 128, -1);
        for (int i = 0; i < k; i++) {
            conn *c = ev[i].data.ptr;
            if (!c) {
                int fd = accept4(l, 0, 0, SOCK_NONBLOCK);
                setsockopt(fd, 6, TCP_NODELAY, &one, 4);
                c = calloc(1, sizeof *c);
                c->fd = fd;
                c->cap = 65536;
                c->buf = malloc(c->cap + 1);
                e.data.ptr = c;
                epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
                continue;
            }
            if (c->cap - c->len < 32768) {
                c->cap *= 2;
                c->buf = realloc(c->buf, c->cap + 1);
            }
            ssize_t r = recv(c->fd, c->buf + c->len, c->cap - c->len, 0);
            if (r <= 0) {
                if (r < 0 && errno == EAGAIN)
                    continue;
                for (int j = 0; j < nidle; j++)
                    if (idle[j] == c)
                        idle[j] = idle[--nidle];
                close(c->fd);
                continue;
            }
            c->len += r;
            c->buf[c->len] = 0;
            for (;;) {
                char *p = c->len ? memmem(c->buf, c->len, "\r\n\r\n", 4) : 0;
                if (!p)
                    break;
                size_t h = p - c->buf + 4;
                long cl = 0;
                *p = 0;
                char *q = c->buf;
                while ((q = strstr(q, "\r\n"))) {
                    q += 2;
                    if ((*q == 'C' || *q == 'c') && !strncasecmp(q, "content-length:", 15))
                        cl = atol(q + 15);
                }
                *p = '\r';
                if (c->len < h + cl)
                    break;
                handle(c, h, h + cl);
                memmove(c->buf, c->buf + h + cl, c->len - h - cl);
                c->len -= h + cl;
            }
        }
    }
}
