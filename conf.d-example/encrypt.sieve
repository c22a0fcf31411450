# Encrypts all mail for the owner of the mailbox.
#
# Put it at /etc/dovecot/sieve/encrypt.sieve. 90-sieve-perot-encrypt.conf has Dovecot run it before the users' own scripts. It
# must also come before all other scripts that the administrator has: behind one that files mail, it is not run. Compile it, now,
# after each change, and after each upgrade of the plugin:
#
#     sievec -c /etc/dovecot/dovecot.conf /etc/dovecot/sieve/encrypt.sieve
#
# There is no `stop` behind `encrypt`: the user's own script still runs, and files or keeps the encrypted message.

require "vnd.perot.encrypt";
encrypt;
