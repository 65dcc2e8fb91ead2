/*
 * Starts programs by turns, so that whatever else the machine does hits them alike, and prints for each the processor
 * time of one run, in microseconds, and its minor faults: `spawn ROUNDS PROGRAM...`. The time is the median of the rounds,
 * the faults are the fewest: a page that another process has just thrown out is not the program's doing.
 *
 * A program may be a script; standard input is empty, standard output goes nowhere, the environment is handed on.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double microseconds(struct timeval time)
{
	return (double)time.tv_sec * 1e6 + (double)time.tv_usec;
}

int main(int argc, char **argv)
{
	posix_spawn_file_actions_t actions;
	int n_rounds = argc > 2 ? atoi(argv[1]) : 0;
	int n_programs = argc - 2;
	double *times;
	long *faults;

	if (n_rounds < 1) {
		fprintf(stderr, "usage: spawn ROUNDS PROGRAM...\n");
		return 2;
	}
	times = calloc((size_t)n_rounds * (size_t)n_programs, sizeof *times);
	faults = calloc((size_t)n_programs, sizeof *faults);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	for (int round = 0; round < n_rounds; round++) {
		for (int i = 0; i < n_programs; i++) {
			char *program = argv[i + 2];
			char *arguments[] = { program, NULL };
			struct rusage usage;
			int status;
			pid_t pid;

			if (posix_spawn(&pid, program, &actions, NULL, arguments, environ) != 0 ||
			    wait4(pid, &status, 0, &usage) != pid || status != 0) {
				fprintf(stderr, "spawn: %s failed\n", program);
				return 1;
			}
			times[i * n_rounds + round] = microseconds(usage.ru_utime) + microseconds(usage.ru_stime);
			if (round == 0 || usage.ru_minflt < faults[i])
				faults[i] = usage.ru_minflt;
		}
	}
	for (int i = 0; i < n_programs; i++) {
		qsort(times + i * n_rounds, (size_t)n_rounds, sizeof *times, compare);
		printf("%.1f %ld %s\n", times[i * n_rounds + n_rounds / 2], faults[i], argv[i + 2]);
	}
	return 0;
}
