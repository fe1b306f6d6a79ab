/* PID 1 of a virtual machine until its disk is there: loads the disk's driver, hands over to systemd. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void) {
    const char *modules[] = {"virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev",
                             "virtio_pci", "virtio_blk", 0};
    char path[99];
    mount("dev", "/dev", "devtmpfs", 0, 0);
    for (int i = 0; modules[i]; i++) {
        snprintf(path, sizeof path, "/m/%s.ko", modules[i]);
        int file = open(path, O_RDONLY);
        if (file >= 0 && syscall(SYS_finit_module, file, "", 0) != 0) perror(path);
    }
    for (int i = 0; i < 100 && mount("/dev/vda", "/root", "ext4", 0, 0) != 0; i++) usleep(100000);
    if (chdir("/root") != 0 || mount("/dev", "/root/dev", 0, MS_MOVE, 0) != 0) perror("/root");
    if (mount(".", "/", 0, MS_MOVE, 0) != 0 || chroot(".") != 0 || chdir("/") != 0) perror("/");
    execl("/lib/systemd/systemd", "/sbin/init", (char *)0);
    perror("/lib/systemd/systemd");
    for (;;) pause();
}
