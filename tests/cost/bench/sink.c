/*
 * The cheapest CGI program that receives a file: copies standard input to $JIDO_ADMIN_PATH/home/sftp/uploads/sink. With CONTENT
 * it leaves out the head of the form, as whoever wants the file must, and then no page of the one is a page of the other.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef CONTENT
static const int is_content = 1;
#else
static const int is_content = 0;
#endif

#define PAGE 4096
static char buffer[(64 << 10) + PAGE] __attribute__((aligned(PAGE)));

static int put(int file, const char *bytes, size_t n)
{
	for (ssize_t m; n > 0; bytes += m, n -= (size_t)m) {
		m = write(file, bytes, n);
		if (m <= 0)
			return 0;
	}
	return 1;
}

int main(void)
{
	static const char answer[] = "Status: 200 OK\r\nContent-Length: 0\r\n\r\n";
	const char *admin = getenv("JIDO_ADMIN_PATH");
	char path[4096];
	size_t held = 0, whole;
	int file, is_first = is_content;
	ssize_t n;

	if (!admin || snprintf(path, sizeof path, "%s/home/sftp/uploads/sink", admin) >= (int)sizeof path)
		return 1;
	file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (file < 0)
		return 1;
	while ((n = read(0, buffer + held, sizeof buffer - held)) > 0) {
		held += (size_t)n;
		if (is_first) {
			char *end = memmem(buffer, held, "\r\n\r\n", 4);
			if (!end)
				return 1;
			held -= (size_t)(end + 4 - buffer);
			memmove(buffer, end + 4, held);
			is_first = 0;
		}
		whole = is_content ? held - held % PAGE : held;
		if (!put(file, buffer, whole))
			return 1;
		held -= whole;
		memmove(buffer, buffer + whole, held);
	}
	if (!put(file, buffer, held))
		return 1;
	return n == 0 && put(1, answer, strlen(answer)) ? 0 : 1;
}
