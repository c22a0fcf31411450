# Without the setting.
require "vnd.dovecot.pgp-encrypt";
pgp_encrypt;
