// SPDX-License-Identifier: ISC
//
// An echo server: one task accepts, one task a connection sends back what comes.
//
//     echo [PORT]         serves on loopback until it is interrupted (port 7007 if none is given)
//     echo --self-test    serves on a free port, asks it from many tasks at once, and ends
//
// Build: cc echo.c $(pkg-config --cflags --libs smolscale)
//
// The self-test prints:
//
//     10000 of 10000 messages came back

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <smolscale.h>
#include <smolscale_async.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_NS (60ull * 1000 * 1000 * 1000) // a silent connection is closed

// A descriptor is forgotten before it is closed: tasks may have waited for it.
static void close_fd(int fd)
{
    smolscale_forget(fd);
    close(fd);
}

// Small pieces go out at once, and do not wait for the other side's acknowledgement.
static void hurry(int fd)
{
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

// ---- the server

struct connection {
    SMOLSCALE_FRAME;
    int fd, n;
    char text[4096];
};

SMOLSCALE_ASYNC(connection, f)
{
    SMOLSCALE_BEGIN(f);
    hurry(f->fd);
    do {
        SMOLSCALE_TIMEOUT(f->n, PATIENCE_NS, smolscale_read(cx, f->fd, f->text, sizeof f->text));
        if (f->n > 0)
            SMOLSCALE_AWAIT(f->n, smolscale_write(cx, f->fd, f->text, (size_t)f->n));
    } while (f->n > 0);
    close_fd(f->fd);
    SMOLSCALE_RETURN(f->n);
    SMOLSCALE_END;
}

struct server {
    SMOLSCALE_FRAME;
    int fd, n;
};

// Ends when it is cancelled. Connections are tasks of their own, which nobody waits for.
SMOLSCALE_ASYNC(server, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_AWAIT(f->n, smolscale_accept(cx, f->fd));
        if (f->n == -EMFILE || f->n == -ENFILE) // until some have been closed
            SMOLSCALE_AWAIT(f->n, smolscale_sleep(cx, 10 * 1000 * 1000));
        else if (f->n < 0)
            SMOLSCALE_RETURN(f->n);
        else if (SMOLSCALE_SPAWN(NULL, connection, .fd = f->n) == -ENOMEM)
            close_fd(f->n);
    }
    SMOLSCALE_END;
}

// A listening socket on loopback; fills in the port if it is 0.
static int listen_on(struct sockaddr_in *address)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof *address;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)address, size) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &size) < 0) {
        perror("echo");
        exit(EXIT_FAILURE);
    }
    return fd;
}

// ---- the self-test: clients, each a task

#define CLIENTS  100
#define MESSAGES 100
#define LONGEST  20000 // bytes of a message: more than the server takes at once

struct client {
    SMOLSCALE_FRAME;
    struct sockaddr_in address;
    int fd, n, number, message, size, got;
    char sent[LONGEST], back[LONGEST];
};

static void compose(struct client *f)
{
    f->size = 1 + (f->number * 7919 + f->message * 104729) % LONGEST;
    for (int i = 0; i < f->size; i++)
        f->sent[i] = (char)(f->number + f->message * i);
}

SMOLSCALE_ASYNC(client, f)
{
    SMOLSCALE_BEGIN(f);
    f->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (f->fd < 0)
        SMOLSCALE_RETURN(-errno);
    SMOLSCALE_AWAIT(
        f->n, smolscale_connect(cx, f->fd, (struct sockaddr *)&f->address, sizeof f->address));
    for (f->message = 0; f->n >= 0 && f->message < MESSAGES; f->message++) {
        compose(f);
        SMOLSCALE_AWAIT(f->n, smolscale_write(cx, f->fd, f->sent, (size_t)f->size));
        for (f->got = 0; f->n > 0 && f->got < f->size; f->got += f->n)
            SMOLSCALE_AWAIT(
                f->n, smolscale_read(cx, f->fd, f->back + f->got, (size_t)(f->size - f->got)));
        if (f->n == 0 || (f->n > 0 && memcmp(f->sent, f->back, (size_t)f->size) != 0))
            f->n = -EPROTO;
    }
    close_fd(f->fd);
    SMOLSCALE_RETURN(f->n < 0 ? f->n : f->message);
    SMOLSCALE_END;
}

static int self_test(struct sockaddr_in address)
{
    smolscale_task *clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++)
        if (SMOLSCALE_SPAWN(&clients[i], client, .address = address, .number = i) != 0)
            return EXIT_FAILURE;
    int answered = 0;
    for (int i = 0; i < CLIENTS; i++) {
        int n = SMOLSCALE_BLOCK(smolscale_join(cx, clients[i]));
        if (n < 0)
            fprintf(stderr, "echo: client %d: %s\n", i, strerror(-n));
        answered += n < 0 ? 0 : n;
        smolscale_release(clients[i]);
    }
    printf("%d of %d messages came back\n", answered, CLIENTS * MESSAGES);
    return answered == CLIENTS * MESSAGES ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    bool testing = argc > 1 && strcmp(argv[1], "--self-test") == 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (!testing)
        address.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 7007));
    int fd = listen_on(&address), result = EXIT_FAILURE;

    smolscale_task *task;
    if (SMOLSCALE_SPAWN(&task, server, .fd = fd) != 0)
        return EXIT_FAILURE;
    if (testing) {
        result = self_test(address);
        smolscale_cancel(task);
    } else {
        printf("echo on 127.0.0.1:%d\n", ntohs(address.sin_port));
    }
    int ended = SMOLSCALE_BLOCK(smolscale_join(cx, task));
    if (ended != -ECANCELED) {
        fprintf(stderr, "echo: %s\n", strerror(-ended));
        result = EXIT_FAILURE;
    }
    smolscale_release(task);
    close_fd(fd);
    return result;
}
