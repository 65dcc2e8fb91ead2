/* The cheapest CGI program that receives a file: copies standard input to $JIDO_ADMIN_PATH/home/sftp/uploads/sink. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[64 << 10];

int main(void)
{
	static const char answer[] = "Status: 200 OK\r\nContent-Length: 0\r\n\r\n";
	const char *admin = getenv("JIDO_ADMIN_PATH");
	char path[4096];
	ssize_t n;
	int file;

	if (!admin || snprintf(path, sizeof path, "%s/home/sftp/uploads/sink", admin) >= (int)sizeof path)
		return 1;
	file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (file < 0)
		return 1;
	while ((n = read(0, buffer, sizeof buffer)) > 0) {
		for (ssize_t done = 0, m; done < n; done += m) {
			m = write(file, buffer + done, (size_t)(n - done));
			if (m <= 0)
				return 1;
		}
	}
	return n == 0 && write(1, answer, strlen(answer)) == (ssize_t)strlen(answer) ? 0 : 1;
}
