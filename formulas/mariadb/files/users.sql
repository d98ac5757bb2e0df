{# Runs at every start (init-file), locally on each member, and whenever it changes; one statement a line. While root's
   password is rotated, both are valid: by one statement, as others drop the second one. #}
{% macro text(value) %}'{{ value | replace("\\", "\\\\") | replace("'", "''") }}'{% endmacro %}
{% set native %}mysql_native_password USING PASSWORD({% endset %}
{% set former = former_secret('mariadb.root_password') %}
{% set passwords = native ~ text(secret('mariadb.root_password')) ~ ")" %}
{% set passwords = passwords ~ " OR " ~ native ~ text(former) ~ ")" if former else passwords %}
{% set root_hosts = ['localhost'] + options.root_hosts %}
CREATE USER IF NOT EXISTS mysql@localhost IDENTIFIED VIA unix_socket;
GRANT ALL PRIVILEGES ON *.* TO mysql@localhost WITH GRANT OPTION;
{% for address in root_hosts %}
CREATE USER IF NOT EXISTS root@{{ text(address) }} IDENTIFIED VIA {{ passwords }};
ALTER USER root@{{ text(address) }} IDENTIFIED VIA {{ passwords }} REQUIRE {{ "SSL" if options.tls and address != "localhost" else "NONE" }};
GRANT ALL PRIVILEGES ON *.* TO root@{{ text(address) }} WITH GRANT OPTION;
{% endfor %}
CREATE USER IF NOT EXISTS monitor@'%' IDENTIFIED BY '';
CREATE USER IF NOT EXISTS monitor@localhost IDENTIFIED BY '';
DELETE FROM mysql.global_priv WHERE User = '' OR User = 'root' AND Host NOT IN ({% for address in root_hosts %}{{ text(address) }}{{ ", " if not loop.last }}{% endfor %});
FLUSH PRIVILEGES;
